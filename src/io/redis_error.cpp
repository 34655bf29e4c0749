#include "io/redis_error.hpp"

#include <algorithm>
#include <array>

namespace io {

namespace {

constexpr std::array<std::string_view, 10> kUnfit{
    "READONLY",    // a replica
    "MASTERDOWN",  // a replica that has lost its primary
    "NOREPLICAS",  // a primary with fewer replicas than min-replicas-to-write
    "MISCONF",     // a primary that cannot save
    "LOADING",     // it has just started
    "NOAUTH",
    "MOVED",        // a node of a Cluster: another has the slot,
    "ASK",          // it gives the slot away
    "TRYAGAIN",     // and has given some of the keys,
    "CLUSTERDOWN",  // some slot is served by nobody, or it sees too few of the others
};

// The first word. Redis 5 and 6 put an error inside a script behind words of their own:
// "ERR Error running script (call to f_<sha>): @user_script:1: -READONLY You can't …".
std::string_view code_of(std::string_view error) noexcept {
    if (error.starts_with("ERR Error running script")) {
        const size_t inner = error.find(": -");
        error.remove_prefix(inner == std::string_view::npos ? 0 : inner + 3);
    }
    return error.substr(0, error.find(' '));
}

}  // namespace

bool server_is_unfit(std::string_view error) noexcept {
    return std::find(kUnfit.begin(), kUnfit.end(), code_of(error)) != kUnfit.end();
}

std::optional<RedisAddress> moved_to(std::string_view error, const RedisAddress& asked) {
    const size_t space = error.rfind(' ');
    const size_t colon = error.rfind(':');  // the last one: an IPv6 address has no brackets
    if (!error.starts_with("MOVED ") || colon == std::string_view::npos || colon < space) {
        return std::nullopt;
    }
    const std::string_view host = error.substr(space + 1, colon - space - 1);
    return numeric_address(host.empty() ? asked.host : host, error.substr(colon + 1));
}

std::string_view without_arguments(std::string_view error) noexcept {
    return error.substr(0, error.find(", with args"));
}

}  // namespace io
