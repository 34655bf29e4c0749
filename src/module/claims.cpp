#include "module/claims.hpp"

#include <algorithm>
#include <limits>

#include "ledger/counter.hpp"
#include "module/worker.hpp"

namespace module {

namespace {

using ledger::BudgetStep;
using ledger::ClaimTemplate;

void add_tag_limits(Call& call, const ledger::LimitRule& rule) {
    const auto add = [&](const std::string& tag) { add_claim(call.own_limits, rule, tag); };
    const std::vector<std::string>& of_key = call.caller->key->identity.tags;
    std::for_each(of_key.begin(), of_key.end(), add);
    std::for_each(call.scanned.tags.begin(), call.scanned.tags.end(), add);
}

// Of every provider that may come to serve the call.
void add_provider_limits(Call& call, const ledger::LimitRule& rule) {
    std::vector<const llm::Provider*> seen;
    for (const llm::Deployment* deployment : call.order) {
        if (std::find(seen.begin(), seen.end(), deployment->provider) == seen.end()) {
            seen.push_back(deployment->provider);
            add_claim(call.own_limits, rule, deployment->provider->name);
        }
    }
}

void add_own_limits(Call& call, const RequestRule& wanted) {
    const ledger::LimitRule& rule = *wanted.rule;
    switch (rule.scope) {
        case ledger::Scope::customer:
            return add_claim(call.own_limits, rule, call.scanned.user);
        case ledger::Scope::tag:
            return add_tag_limits(call, rule);
        case ledger::Scope::provider:
            return add_provider_limits(call, rule);
        case ledger::Scope::model:
            return add_claim(call.own_limits, rule, call.model->name);
        default:
            return add_claim(call.own_limits, rule, io::evaluate(call.r, *wanted.group));
    }
}

bool may_downgrade(const Call& call, const std::string& name) {
    const llm::LogicalModel* target = call.gateway.catalog.resolve(name);
    const bool tried = std::find(call.tried.begin(), call.tried.end(), target) != call.tried.end();
    return !tried && call.may_use(name, *target);
}

// The first step from which on the call is to be served with another model.
const BudgetStep* downgrade_step(const Call& call, const ClaimTemplate& limit) {
    if (call.keeps_model || call.shadow) {
        return nullptr;
    }
    const auto applies = [&](const BudgetStep& step) {
        return step.action == BudgetStep::Action::downgrade && step.from <= limit.enforced &&
               may_downgrade(call, step.model);
    };
    const auto step = std::find_if(limit.steps.begin(), limit.steps.end(), applies);
    return step == limit.steps.end() ? nullptr : &*step;
}

int64_t limit_of(const Call& call, const ClaimTemplate& limit) {
    const bool is_free = limit.unit == ledger::Unit::nano_usd && call.held_tokens.cost == 0;
    if (call.shadow || is_free) {
        return ledger::kMaxLimit;
    }
    const BudgetStep* step = downgrade_step(call, limit);
    return step == nullptr ? limit.enforced : step->from;
}

int64_t amount_of(const Call& call, const ClaimTemplate& limit) noexcept {
    const bool is_expected = limit.estimate == ledger::Estimate::expected;
    const llm::HeldTokens& held = is_expected ? call.expected_tokens : call.held_tokens;
    switch (limit.unit) {
        case ledger::Unit::nano_usd:
            return held.cost;
        case ledger::Unit::tokens:
            return ledger::saturating_add(held.prompt, held.completion);
        default:
            return 1;
    }
}

bool add_claims(Call& call, const std::vector<ClaimTemplate>& limits) {
    for (const ClaimTemplate& limit : limits) {
        if (!limit.counts(call.model->name)) {
            continue;
        }
        if (call.n_claims == ledger::kMaxClaims) {
            return false;
        }
        call.limits[call.n_claims] = &limit;
        call.claims[call.n_claims++] = {&limit.counter, limit.unit, limit.window,
                                        limit_of(call, limit), amount_of(call, limit)};
    }
    return true;
}

// What is used and reserved, with what this call asks for, is more than so much.
bool goes_beyond(const Call& call, size_t claim, int64_t limit) noexcept {
    const int64_t asked = call.claims[claim].amount;
    const int64_t used = call.decision.states[claim].used;
    const bool is_counted = call.decision.outcome == ledger::Outcome::admitted;
    return asked > 0 && (is_counted ? used : ledger::saturating_add(used, asked)) > limit;
}

void note_alerts(const Call& call, size_t claim) {
    const ClaimTemplate& limit = *call.limits[claim];
    const ledger::CounterState& state = call.decision.states[claim];
    for (const BudgetStep& step : limit.steps) {
        const bool is_reached = state.used > 0 && state.used >= step.from;
        if (step.action == BudgetStep::Action::alert && is_reached) {
            Worker::current().alerts().raise(limit, step, state);
        }
    }
}

}  // namespace

int64_t most_tokens_admitted(const Call& call) noexcept {
    int64_t most = std::numeric_limits<int64_t>::max();
    if (call.shadow) {
        return most;
    }
    for (const ClaimTemplate& limit : call.caller->claims) {
        if (limit.unit == ledger::Unit::tokens && limit.counts(call.model->name)) {
            most = std::min(most, limit.limit);
        }
    }
    return most;
}

std::optional<llm::ApiError> make_claims(Call& call) {
    call.n_claims = 0;
    call.own_limits.clear();
    for (const RequestRule& wanted : call.gateway.request_rules) {
        if (wanted.rule->counts(call.model->name)) {
            add_own_limits(call, wanted);
        }
    }
    if (!add_claims(call, call.caller->claims) || !add_claims(call, call.own_limits)) {
        return llm::invalid_request(
            "More limits apply to this request than can be checked at "
            "once. Give it fewer tags.",
            "tags");
    }
    return std::nullopt;
}

const llm::LogicalModel* downgrade_target(const Call& call) {
    if (call.decision.outcome != ledger::Outcome::denied) {
        return nullptr;
    }
    for (size_t i = 0; i < call.n_claims; ++i) {
        const BudgetStep* step = downgrade_step(call, *call.limits[i]);
        if (step != nullptr && goes_beyond(call, i, step->from)) {
            return call.gateway.catalog.resolve(step->model);
        }
    }
    return nullptr;
}

void take_note(Call& call) {
    if (call.decision.outcome == ledger::Outcome::unavailable) {
        call.would_be = call.shadow ? "service_unavailable" : "";
        return;
    }
    for (size_t i = 0; i < call.n_claims; ++i) {
        const ClaimTemplate& limit = *call.limits[i];
        note_alerts(call, i);
        if (call.shadow && call.would_be.empty() && goes_beyond(call, i, limit.enforced)) {
            call.would_be =
                limit.unit == ledger::Unit::nano_usd ? "budget_exceeded" : "rate_limit_exceeded";
        }
    }
}

std::string decision_name(const Call& call) {
    if (!call.would_be.empty()) {
        return "shadow_" + std::string(call.would_be);
    }
    if (call.attempts > 0) {
        return call.downgraded() ? "downgraded" : "admitted";
    }
    return call.error_kind;
}

}  // namespace module
