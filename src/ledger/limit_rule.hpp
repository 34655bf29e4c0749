#pragma once

// The vocabulary of llm_budget and llm_limit: which counters exist, and which of them a request
// meets.

#include "ledger/ledger.hpp"
#include "llm/identity.hpp"
#include "llm/result.hpp"

namespace ledger {

enum class Scope : uint8_t { global, org, team, user, key };

struct LimitRule {
    Scope scope = Scope::global;
    std::string selector;  // "*": each its own counter; else an exact name; empty for global
    Unit unit = Unit::nano_usd;
    Window window;
    int64_t limit = 0;  // in the unit; 0 … kMaxLimit
};

// 9 million USD in nano-USD: exact also where numbers are doubles (Redis' Lua).
inline constexpr int64_t kMaxLimit = 9'000'000'000'000'000;

// llm_budget <scope> <amount>usd/<window>: "team=*" "1000usd/30d". At most nine decimals, none
// lost.
llm::Result<LimitRule> parse_budget(std::string_view scope, std::string_view amount);

// llm_limit <scope> <rate>: "rpm=100", "tpm=100k", "parallel=20"; k and m are thousands and
// millions. rpm and tpm are sliding minutes.
llm::Result<LimitRule> parse_rate(std::string_view scope, std::string_view rate);

// A claim without its amount. It must stay for as long as claims made of it.
struct ClaimTemplate {
    CounterId counter;
    Unit unit = Unit::nano_usd;
    Window window;
    int64_t limit = 0;
    Scope scope = Scope::global;
    std::string label;  // the scope's name, for error.param; tells nobody's name
};

// One template per counter that this identity meets, in the order of the rules. Rules that differ
// only in "*" and an exact name meet in one counter; its lowest limit stands. What the identity
// does not know of itself matches no rule; a key is selected by its alias or its full hash. May
// exceed kMaxClaims.
//
// A counter's name is "scope:value:unit:window", without what does not apply, e.g.
// "global:usd:1mo", "team:research:tokens:sliding-1m", "key:<first 16 digits of its
// hash>:parallel". In values ':', '%', space and control bytes are percent-encoded. The limit is no
// part of it.
std::vector<ClaimTemplate> claims_for(const llm::Identity& identity,
                                      std::span<const LimitRule> rules);

}  // namespace ledger
