#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace io {

struct RedisAddress {
    std::string host;   // numeric IPv4 or IPv6 address, or the absolute path of a Unix socket
    uint16_t port = 0;  // 0: a Unix socket

    bool operator==(const RedisAddress&) const = default;
};

// nullopt: not a numeric IPv4 or IPv6 address, or not a port from 1 to 65535. Never asks a name
// server.
std::optional<RedisAddress> numeric_address(std::string_view host, std::string_view port);

}  // namespace io
