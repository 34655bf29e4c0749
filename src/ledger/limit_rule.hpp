#pragma once

// The vocabulary of llm_budget and llm_limit: which counters exist, and which of them a request
// meets.

#include "ledger/budget_step.hpp"
#include "ledger/ledger.hpp"
#include "llm/identity.hpp"
#include "llm/result.hpp"

namespace ledger {

enum class Scope : uint8_t {
    global,
    org,
    team,
    user,
    key,
    // What a request says, not who sends it:
    customer,
    tag,
    model,
    provider,  // of the deployment that serves it
    group      // what an nginx expression yields
};

// Where requests wait for a parallel slot.
struct SlotLine {
    size_t places = 0;    // in each worker; 0: none waits
    int64_t wait_ms = 0;  // at most
};

// What a request holds until it is known what it used.
enum class Estimate : uint8_t {
    bound,    // the most that it can use: the limit is never exceeded
    expected  // what it is likely to use: more are admitted, and may exceed the limit together
};

struct LimitRule {
    Scope scope = Scope::global;
    // "*": each its own counter; else an exact name. Empty for global. Of a group: its expression,
    // each value of which has its own counter.
    std::string selector;
    Unit unit = Unit::nano_usd;
    Window window;
    int64_t limit = 0;              // in the unit; 0 … kMaxLimit
    std::string models;             // a glob: requests for other models do not count; empty: all do
    std::vector<BudgetStep> steps;  // of a budget
    SlotLine line;                  // of parallel
    Estimate estimate = Estimate::bound;

    // Whether a request for that logical model counts.
    bool counts(const std::string& model) const noexcept;
};

// 9 million USD in nano-USD: exact also where numbers are doubles (Redis' Lua).
inline constexpr int64_t kMaxLimit = 9'000'000'000'000'000;

// llm_budget <scope> <amount>usd/<window>: "team=*" "1000usd/30d". At most nine decimals, none
// lost. A group is "by=" and its expression.
llm::Result<LimitRule> parse_budget(std::string_view scope, std::string_view amount);

// llm_limit <scope> <rate>: "rpm=100", "tpm=100k", "parallel=20"; k and m are thousands and
// millions. rpm and tpm are sliding minutes.
llm::Result<LimitRule> parse_rate(std::string_view scope, std::string_view rate);

// A claim without its amount. It must stay for as long as claims made of it.
struct ClaimTemplate {
    CounterId counter;
    Unit unit = Unit::nano_usd;
    Window window;
    int64_t limit = 0;     // as it is shown to clients
    int64_t enforced = 0;  // what rejects: the limit, or kMaxLimit if nothing does
    Scope scope = Scope::global;
    std::string label;  // the scope's name, for error.param; tells nobody's name
    std::string value;  // of the scope
    std::string models;
    std::vector<BudgetStep> steps;  // alerts and downgrades
    SlotLine line;
    Estimate estimate = Estimate::bound;

    bool counts(const std::string& model) const noexcept;  // as its rule
    // Not so for what only alerts, as a record's soft_budget alone.
    bool has_limit() const noexcept { return limit < kMaxLimit; }
};

// Whether a rule's counter is not known before there is a request.
bool depends_on_request(Scope scope) noexcept;

// Whether a client may know the figures of a limit of that scope, because its key belongs there.
// The global ones and those of models and providers are the operator's, and a client may name the
// customers, tags and groups of others.
bool is_of_caller(Scope scope) noexcept;

// One template per counter that this identity meets, in the order of the rules; without rules that
// depend on a request. Rules that differ only in "*" and an exact name meet in one counter; its
// lowest limit stands, the steps of all stay, and the hold is expected if one says so. What the
// identity does not know of itself matches no rule; a key is selected by its alias or its full
// hash. May exceed kMaxClaims.
//
// A counter's name is "scope:value:models:unit:window", without what does not apply, e.g.
// "global:usd:1mo", "team:research:tokens:sliding-1m", "key:<first 16 digits of its
// hash>:parallel", "user:alice:model=gpt-4*:usd:1d", "by:$http_x_app:search:usd:1d". In values ':',
// '%', space and control bytes are percent-encoded. The limit is no part of it.
std::vector<ClaimTemplate> claims_for(const llm::Identity& identity,
                                      std::span<const LimitRule> rules);

// Adds the counter that a rule which depends on a request has for this value of its scope, in the
// same way. Nothing is added for an empty value, or one that is not selected.
void add_claim(std::vector<ClaimTemplate>& claims, const LimitRule& rule, std::string_view value);

}  // namespace ledger
