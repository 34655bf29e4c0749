#pragma once

#include <string_view>

#include "io/redis_config.hpp"
#include "llm/result.hpp"

namespace ledger {

// Of one server, or of several of which one is the primary, or nodes of one Cluster:
//   redis://[[user]:password@]host[:port][,host[:port]…][/database]
// of the Sentinels that know the primary of the group `name`:
//   redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/name[/database]
//       [?sentinel_password=password[&sentinel_username=user]]
// or of a Unix socket:
//   unix:/path[?db=database]
// An IPv6 address stands in brackets; users and passwords may be percent-encoded. A host name
// stands for all its addresses. It is resolved here, blocking: call it while the configuration is
// read. Errors never contain a user, a password or a host.
llm::Result<io::RedisConfig> parse_redis_url(std::string_view url);

}  // namespace ledger
