#pragma once

#include <string>
#include <vector>

namespace llm {

// Who a request acts for. Empty: not known. Stable for as long as the key record lives.
struct Identity {
    std::string key_hash;  // lower-case hex SHA-256 of the virtual key, 64 characters
    std::string key_alias;
    std::string team;
    std::string user;
    std::string org;
    std::vector<std::string> tags;
};

}  // namespace llm
