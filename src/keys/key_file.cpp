#include "keys/key_file.hpp"

#include <yajl/yajl_parse.h>
#include <yajl/yajl_tree.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <stdexcept>

namespace keys {

namespace {

// What is wrong with the file; parse() turns it into a failure.
struct Malformed : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct TreeDeleter {
    void operator()(yajl_val tree) const noexcept { yajl_tree_free(tree); }
};
using Tree = std::unique_ptr<yajl_val_s, TreeDeleter>;

std::string text(yajl_val value, const std::string& where) {
    if (!YAJL_IS_STRING(value)) {
        throw Malformed(where + " must be a string");
    }
    return YAJL_GET_STRING(value);
}

std::string non_empty_text(yajl_val value, const std::string& where) {
    std::string s = text(value, where);
    if (s.empty()) {
        throw Malformed(where + " must not be empty");
    }
    return s;
}

std::vector<std::string> texts(yajl_val value, const std::string& where) {
    if (!YAJL_IS_ARRAY(value)) {
        throw Malformed(where + " must be an array of strings");
    }
    std::vector<std::string> out;
    for (size_t i = 0; i < value->u.array.len; ++i) {
        out.push_back(
            non_empty_text(value->u.array.values[i], where + "[" + std::to_string(i) + "]"));
    }
    return out;
}

bool boolean(yajl_val value, const std::string& where) {
    if (!YAJL_IS_TRUE(value) && !YAJL_IS_FALSE(value)) {
        throw Malformed(where + " must be true or false");
    }
    return YAJL_IS_TRUE(value);
}

int64_t count(yajl_val value, const std::string& where) {
    if (!YAJL_IS_INTEGER(value) || YAJL_GET_INTEGER(value) < 0) {
        throw Malformed(where + " must be a whole number, 0 or more");
    }
    return YAJL_GET_INTEGER(value);
}

llm::NanoUsd usd(yajl_val value, const std::string& where) {
    const auto amount =
        YAJL_IS_NUMBER(value) ? llm::parse_usd(YAJL_GET_NUMBER(value)) : std::nullopt;
    if (!amount) {
        throw Malformed(where + " must be an amount of USD such as 25 or 0.5");
    }
    return *amount;
}

// "2030-01-01T00:00:00Z" or "2030-01-01", in UTC.
int64_t instant_ms(yajl_val value, const std::string& where) {
    const std::string s = text(value, where);
    int year = 0;
    unsigned month = 0, day = 0, hour = 0, minute = 0, second = 0;
    int used = 0;
    const int fields = std::sscanf(s.c_str(), "%4d-%2u-%2u%n", &year, &month, &day, &used);
    bool valid = fields == 3;
    if (valid && s[used] != '\0') {
        int more = 0;
        valid =
            std::sscanf(s.c_str() + used, "T%2u:%2u:%2uZ%n", &hour, &minute, &second, &more) == 3 &&
            more > 0 && s[used + more] == '\0';
    }
    const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                           std::chrono::day(day)};
    if (!valid || !date.ok() || hour > 23 || minute > 59 || second > 59) {
        throw Malformed(where + " must be a UTC time such as \"2030-01-01T00:00:00Z\"");
    }
    const auto days = std::chrono::sys_days(date).time_since_epoch();
    return (std::chrono::seconds(days).count() + hour * 3600 + minute * 60 + second) * 1000;
}

// True if `field` is one of the limits that every kind of record may carry.
bool read_limit(Limits& limits, std::string_view field, yajl_val value, const std::string& where) {
    if (field == "max_budget") {
        limits.max_budget = usd(value, where);
    } else if (field == "soft_budget") {
        limits.soft_budget = usd(value, where);
    } else if (field == "budget_duration") {
        limits.budget_duration = non_empty_text(value, where);
    } else if (field == "rpm_limit") {
        limits.rpm_limit = count(value, where);
    } else if (field == "tpm_limit") {
        limits.tpm_limit = count(value, where);
    } else if (field == "max_parallel_requests") {
        limits.max_parallel_requests = count(value, where);
    } else if (field == "models") {
        limits.models = texts(value, where);
    } else if (field == "blocked") {
        limits.blocked = boolean(value, where);
    } else {
        return false;
    }
    return true;
}

template <class OnField>
void for_each_field(yajl_val object, const std::string& where, OnField on_field) {
    if (!YAJL_IS_OBJECT(object)) {
        throw Malformed(where + " must be an object");
    }
    for (size_t i = 0; i < object->u.object.len; ++i) {
        on_field(std::string_view(object->u.object.keys[i]), object->u.object.values[i]);
    }
}

template <class OnItem>
void for_each_item(yajl_val array, const std::string& where, OnItem on_item) {
    if (!YAJL_IS_ARRAY(array)) {
        throw Malformed(where + " must be an array");
    }
    for (size_t i = 0; i < array->u.array.len; ++i) {
        on_item(array->u.array.values[i], where + "[" + std::to_string(i) + "]");
    }
}

// yajl_tree tells where a file is wrong only by quoting it, and it may hold secrets.
std::optional<size_t> line_of_syntax_error(std::string_view json) {
    const std::unique_ptr<std::remove_pointer_t<yajl_handle>, decltype(&yajl_free)> parser(
        yajl_alloc(nullptr, nullptr, nullptr), yajl_free);
    const auto* bytes = reinterpret_cast<const unsigned char*>(json.data());
    const bool valid = yajl_parse(parser.get(), bytes, json.size()) == yajl_status_ok &&
                       yajl_complete_parse(parser.get()) == yajl_status_ok;
    if (valid) {
        return std::nullopt;
    }
    const size_t at = std::min(yajl_get_bytes_consumed(parser.get()), json.size());
    return 1 + static_cast<size_t>(
                   std::count(json.begin(), json.begin() + static_cast<ptrdiff_t>(at), '\n'));
}

Malformed unknown_field(const std::string& where, std::string_view field) {
    return Malformed(where + ": unknown field \"" + std::string(field) + "\"");
}

}  // namespace

class KeyFileParser {
  public:
    static KeyFile parse(yajl_val root) {
        KeyFile file;
        for_each_field(root, "the file", [&](std::string_view field, yajl_val value) {
            if (field == "keys") {
                for_each_item(value, "keys", [&](yajl_val item, const std::string& where) {
                    add_key(file, item, where);
                });
            } else if (field == "teams") {
                add_groups(file.teams_, value, "teams");
            } else if (field == "users") {
                add_groups(file.users_, value, "users");
            } else if (field == "organizations") {
                add_groups(file.orgs_, value, "organizations");
            } else {
                throw unknown_field("the file", field);
            }
        });
        return file;
    }

  private:
    static void add_key(KeyFile& file, yajl_val item, const std::string& where) {
        VirtualKey key;
        std::optional<KeyHash> hash;
        for_each_field(item, where, [&](std::string_view field, yajl_val value) {
            const std::string at = where + "." + std::string(field);
            llm::Identity& identity = key.identity;
            if (field == "key" || field == "key_hash") {
                if (hash) {
                    throw Malformed(where + " has more than one of key, key_hash");
                }
                hash =
                    field == "key" ? hash_key(non_empty_text(value, at)) : stored_hash(value, at);
            } else if (field == "alias") {
                identity.key_alias = non_empty_text(value, at);
            } else if (field == "team") {
                identity.team = non_empty_text(value, at);
            } else if (field == "user") {
                identity.user = non_empty_text(value, at);
            } else if (field == "org") {
                identity.org = non_empty_text(value, at);
            } else if (field == "tags") {
                identity.tags = texts(value, at);
            } else if (field == "expires") {
                key.expires_ms = instant_ms(value, at);
            } else if (!read_limit(key.limits, field, value, at)) {
                throw unknown_field(where, field);
            }
        });
        if (!hash) {
            throw Malformed(where + " needs \"key\" or \"key_hash\"");
        }
        key.identity.key_hash = to_hex(*hash);
        if (!file.keys_.emplace(*hash, std::move(key)).second) {
            throw Malformed(where + " has the same key as another record");
        }
    }

    static KeyHash stored_hash(yajl_val value, const std::string& where) {
        const auto hash = parse_key_hash(text(value, where));
        if (!hash) {
            throw Malformed(where + " must be 64 hex digits, the SHA-256 of the key");
        }
        return *hash;
    }

    static void add_groups(KeyFile::Groups& groups, yajl_val value, const std::string& name) {
        for_each_item(value, name, [&](yajl_val item, const std::string& where) {
            Group group;
            for_each_field(item, where, [&](std::string_view field, yajl_val member) {
                const std::string at = where + "." + std::string(field);
                if (field == "id") {
                    group.id = non_empty_text(member, at);
                } else if (!read_limit(group.limits, field, member, at)) {
                    throw unknown_field(where, field);
                }
            });
            if (group.id.empty()) {
                throw Malformed(where + " needs \"id\"");
            }
            const std::string id = group.id;
            if (!groups.emplace(id, std::move(group)).second) {
                throw Malformed(where + " has the same id as another record");
            }
        });
    }
};

llm::Result<KeyFile> KeyFile::parse(std::string_view json) {
    if (const auto line = line_of_syntax_error(json)) {
        return llm::Result<KeyFile>::failure("not JSON, line " + std::to_string(*line));
    }
    const Tree root(yajl_tree_parse(std::string(json).c_str(), nullptr, 0));
    if (root == nullptr) {
        throw std::bad_alloc();
    }
    try {
        return KeyFileParser::parse(root.get());
    } catch (const Malformed& malformed) {
        return llm::Result<KeyFile>::failure(malformed.what());
    }
}

const VirtualKey* KeyFile::find(const KeyHash& hash) const noexcept {
    const auto it = keys_.find(hash);
    return it == keys_.end() ? nullptr : &it->second;
}

const Group* KeyFile::find(const Groups& groups, const std::string& id) noexcept {
    const auto it = groups.find(id);
    return it == groups.end() ? nullptr : &it->second;
}

}  // namespace keys
