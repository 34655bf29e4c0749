#include "io/redis_address.hpp"

#include <arpa/inet.h>

#include <charconv>

namespace io {

namespace {

bool is_numeric(const std::string& host) noexcept {
    in6_addr address;
    return inet_pton(AF_INET, host.c_str(), &address) == 1 ||
           inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

}  // namespace

std::optional<RedisAddress> numeric_address(std::string_view host, std::string_view port) {
    RedisAddress address{std::string(host), 0};
    const char* end = port.data() + port.size();
    const auto [stop, error] = std::from_chars(port.data(), end, address.port);
    if (error != std::errc() || stop != end || address.port == 0 || !is_numeric(address.host)) {
        return std::nullopt;
    }
    return address;
}

}  // namespace io
