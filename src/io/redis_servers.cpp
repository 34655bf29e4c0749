#include "io/redis_servers.hpp"

#include <algorithm>
#include <utility>

namespace io {

RedisServers::RedisServers(std::vector<RedisAddress> configured)
    : servers_(std::move(configured)), configured_(servers_.size()) {
    servers_.reserve(configured_ + kMostLearned);
}

void RedisServers::next() noexcept {
    current_ = current_ + 1 < size() ? current_ + 1 : 0;
}

bool RedisServers::go_to(RedisAddress&& server) noexcept {
    const auto known = std::find(servers_.begin(), servers_.end(), server);
    current_ = static_cast<size_t>(known - servers_.begin());
    if (known != servers_.end()) {
        return false;
    }
    if (size() < configured_ + kMostLearned) {
        servers_.push_back(std::move(server));
    } else {
        current_ = configured_ + std::exchange(oldest_, (oldest_ + 1) % kMostLearned);
        servers_[current_] = std::move(server);
    }
    return true;
}

}  // namespace io
