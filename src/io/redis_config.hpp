#pragma once

#include <cstdint>
#include <string>

namespace io {

struct RedisConfig {
    std::string address;  // numeric IPv4 or IPv6; empty: the Unix socket
    uint16_t port = 6379;
    std::string socket_path;
    std::string user;      // ACL user; empty: the default one
    std::string password;  // a secret; empty: no AUTH
    int database = 0;
    int64_t timeout_ms = 50;     // per command, 1..60000
    size_t max_pending = 16384;  // commands without an answer, on one worker's connection
};

}  // namespace io
