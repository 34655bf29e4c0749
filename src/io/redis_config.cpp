#include "io/redis_config.hpp"

namespace io {

std::vector<RedisCommand> login_commands(const RedisCredentials& credentials) {
    const auto& [user, password] = credentials;
    if (!user.empty()) {
        return {RedisCommand(3).add("AUTH").add(user).add(password)};
    }
    if (!password.empty()) {
        return {RedisCommand(2).add("AUTH").add(password)};
    }
    return {};
}

}  // namespace io
