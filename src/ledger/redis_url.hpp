#pragma once

#include <string_view>

#include "io/redis_config.hpp"
#include "llm/result.hpp"

namespace ledger {

// redis://[[user]:password@]host[:port][/database] or unix:/path[?db=database]; an IPv6 address
// stands in brackets, user and password may be percent-encoded. A host name is resolved here,
// blocking: call it while the configuration is read. Errors never contain the user or the password.
llm::Result<io::RedisConfig> parse_redis_url(std::string_view url);

}  // namespace ledger
