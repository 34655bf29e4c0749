#pragma once

// The servers of which one is the primary, and which of them is tried now.

#include <cstddef>
#include <vector>

#include "io/redis_address.hpp"

namespace io {

class RedisServers {
  public:
    // They stay; of those learned later only the last kMostLearned do.
    static constexpr size_t kMostLearned = 16;

    explicit RedisServers(std::vector<RedisAddress> configured);

    size_t size() const noexcept { return servers_.size(); }
    // There must be one.
    const RedisAddress& current() const noexcept { return servers_[current_]; }
    // To the one after it, round and round.
    void next() noexcept;
    // To this one. True: it was not known.
    bool go_to(RedisAddress&& server) noexcept;

  private:
    std::vector<RedisAddress> servers_;  // has room for all that it will hold
    size_t configured_;
    size_t oldest_ = 0;  // of the learned ones
    size_t current_ = 0;
};

}  // namespace io
