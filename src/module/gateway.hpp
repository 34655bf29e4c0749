#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/ngx.hpp"
#include "keys/key_file.hpp"
#include "ledger/limit_rule.hpp"
#include "ledger/redis_ledger.hpp"
#include "llm/catalog.hpp"
#include "llm/prices.hpp"
#include "spend/spool_room.hpp"

namespace module {

// A virtual key and everything that follows from its record and the directives, made once per load.
struct Caller {
    const keys::VirtualKey* key = nullptr;
    std::vector<const keys::Limits*>
        restrictions;  // the key's own, its team's, user's, organization's
    std::vector<ledger::ClaimTemplate> claims;

    bool blocked() const noexcept;
    // Allowed by every record; `requested` may be an alias of `model`: allowing either is enough.
    bool may_use(const std::string& requested, const std::string& model) const noexcept;
};

struct RedisSettings {
    io::RedisConfig client;
    ledger::OnFailure on_failure = ledger::OnFailure::local;
};

struct PostgresSettings {
    std::string conninfo;
    size_t batch = 1000;
    ngx_msec_t flush_ms = 1000;
    int keep_days = 0;  // rows of earlier days are deleted; 0: none
};

// When rows go to disk.
struct Fsync {
    enum class When : uint8_t {
        off,       // as the kernel likes
        interval,  // each within that time
        always,    // each before its answer ends
    };
    When when = When::interval;
    ngx_msec_t interval_ms = 1000;
};

struct SpoolSettings {
    ngx_path_t* path = nullptr;  // made by the master, owned by the workers' user
    uint64_t max_bytes = 0;
    spend::WhenFull when_full = spend::WhenFull::reject;
    Fsync fsync;
    bool sums_refusals = false;  // instead of a row for each
};

// A rule whose counter follows from the request.
struct RequestRule {
    const ledger::LimitRule* rule;
    ngx_http_complex_value_t* group;  // its expression; nullptr for other scopes
};

// Models that only some may use, whoever's key it is.
struct ModelAllow {
    std::string models;  // a glob of logical models
    ngx_http_complex_value_t* group;
    std::vector<std::string> values;  // of the expression
};

// What the llm_* directives of one configuration say. Filled while it is read, immutable
// afterwards.
struct Gateway {
    ngx_shm_zone_t* zone = nullptr;
    std::optional<keys::KeyFile> keys;
    std::optional<RedisSettings> redis;
    std::optional<PostgresSettings> postgres;
    std::optional<SpoolSettings> spool;
    std::optional<llm::PriceTable> prices;
    std::optional<llm::ModelPrice> unknown_price;  // none: a model without a price is refused
    llm::Catalog catalog;
    std::vector<ledger::LimitRule> rules;
    std::map<std::string, ngx_http_complex_value_t*, std::less<>> expressions;  // by their text
    std::vector<RequestRule> request_rules;                                     // some of `rules`
    std::vector<ModelAllow> model_allows;
    std::unordered_map<keys::KeyHash, Caller, keys::KeyHashHasher> callers;

    const Caller* find_caller(const keys::KeyHash& hash) const noexcept;
};

}  // namespace module
