#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/redis_address.hpp"
#include "io/redis_command.hpp"

namespace io {

struct RedisCredentials {
    std::string user;      // ACL user; empty: the default one
    std::string password;  // a secret; empty: no AUTH
};

// AUTH, or nothing.
std::vector<RedisCommand> login_commands(const RedisCredentials& credentials);

struct RedisConfig {
    std::vector<RedisAddress> servers;  // at least one, tried in turn; or Sentinels that know it
    std::string primary_name;           // of the group that Sentinels watch; empty: no Sentinels
    RedisCredentials credentials;
    RedisCredentials sentinel_credentials;
    int database = 0;
    int64_t timeout_ms = 50;     // per command, 1..60000
    size_t max_pending = 16384;  // commands without an answer, on one worker's connection
};

}  // namespace io
