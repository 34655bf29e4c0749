#pragma once

// What an error reply says of the server that gave it.

#include <optional>
#include <string_view>

#include "io/redis_address.hpp"

namespace io {

// The server cannot serve us now, such as a primary that became a replica, and has not run the
// command. Other errors are about the command.
bool server_is_unfit(std::string_view error) noexcept;

// Who has our keys, as a node of a Cluster says that `asked` has not ("MOVED slot host:port"; no
// host means its own). nullopt: another error, or not a numeric address.
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#moved-redirection
std::optional<RedisAddress> moved_to(std::string_view error, const RedisAddress& asked);

// What of an error may be logged: not the arguments that Redis repeats of a command that it does
// not know. A Sentinel before 5.0.1 does not know AUTH.
std::string_view without_arguments(std::string_view error) noexcept;

}  // namespace io
