#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "keys/key_hash.hpp"
#include "keys/record.hpp"
#include "llm/result.hpp"

namespace keys {

// The records of `llm_keys file:…`, immutable once read:
//   {"keys": [{"key": "sk-…" or "key_hash": "<sha256>", "alias": …, "team": …, "models": […], …}],
//    "teams": [{"id": …, "max_budget": …, …}], "users": […], "organizations": […]}
// A field that is not known is an error: a misspelt limit must not be no limit.
class KeyFile {
  public:
    static llm::Result<KeyFile> parse(std::string_view json);

    const VirtualKey* find(const KeyHash& hash) const noexcept;
    const Group* team(const std::string& id) const noexcept { return find(teams_, id); }
    const Group* user(const std::string& id) const noexcept { return find(users_, id); }
    const Group* org(const std::string& id) const noexcept { return find(orgs_, id); }

    using Keys = std::unordered_map<KeyHash, VirtualKey, KeyHashHasher>;
    const Keys& keys() const noexcept { return keys_; }

  private:
    using Groups = std::map<std::string, Group>;
    friend class KeyFileParser;

    static const Group* find(const Groups& groups, const std::string& id) noexcept;

    Keys keys_;
    Groups teams_;
    Groups users_;
    Groups orgs_;
};

}  // namespace keys
