#include "module/refusal.hpp"

#include "ledger/window.hpp"
#include "llm/duration.hpp"

namespace module {

namespace {

constexpr int64_t kDayMs = 24 * 3600 * 1000;
// What resets later than this never does, as far as anyone who reads it cares.
constexpr int64_t kFarMs = 10 * 366 * kDayMs;

int64_t whole_seconds(int64_t ms) noexcept {
    return (ms + 999) / 1000;
}

std::string whose(const ledger::ClaimTemplate& limit) {
    return limit.scope == ledger::Scope::global ? "this gateway" : "this " + limit.label;
}

std::string lifts_in(int64_t ms) {
    return ms < 0 || ms > kFarMs ? "" : " Limit resets in " + llm::format_duration(ms) + ".";
}

std::string budget_figures(const ledger::ClaimTemplate& limit, const ledger::CounterState& state,
                           int64_t asked) {
    if (!ledger::is_of_caller(limit.scope)) {
        return "";
    }
    return " Limit: $" + llm::format_usd(limit.limit) + " per " + to_string(limit.window) +
           ", used or reserved: $" + llm::format_usd(state.used) + ", this request may cost: $" +
           llm::format_usd(asked) + ".";
}

llm::ApiError refuse_budget(Call& call, const ledger::ClaimTemplate& limit,
                            const ledger::CounterState& state, int64_t asked) {
    call.no_retry = true;
    if (state.reset_ms <= kFarMs) {
        call.retry_after_s = whole_seconds(state.reset_ms);
    }
    return llm::budget_exceeded("Budget exceeded for " + whose(limit) + "." +
                                    budget_figures(limit, state, asked) + lifts_in(state.reset_ms),
                                limit.label);
}

std::string rate_figures(const ledger::ClaimTemplate& limit, const ledger::CounterState& state,
                         int64_t asked) {
    if (!ledger::is_of_caller(limit.scope)) {
        return "";
    }
    return ": limit " + std::to_string(limit.limit) + ", used " + std::to_string(state.used) +
           ", requested " + std::to_string(asked);
}

llm::ApiError refuse_rate(Call& call, const ledger::ClaimTemplate& limit,
                          const ledger::CounterState& state, int64_t asked) {
    const bool parallel = limit.unit == ledger::Unit::parallel;
    const char* what = parallel                               ? "parallel requests"
                       : limit.unit == ledger::Unit::requests ? "requests per minute"
                                                              : "tokens per minute";
    if (state.retry_ms < 0) {
        call.no_retry = true;  // it would never fit
    } else {
        call.retry_after_s = std::max<int64_t>(1, whole_seconds(state.retry_ms));
    }
    return llm::rate_limit_exceeded("Rate limit reached for " + whose(limit) + " on " + what +
                                        rate_figures(limit, state, asked) + "." +
                                        (parallel ? "" : lifts_in(state.retry_ms)),
                                    limit.label);
}

}  // namespace

llm::ApiError refuse(Call& call) {
    const ledger::Decision& decision = call.decision;
    if (decision.outcome == ledger::Outcome::unavailable) {
        return llm::from_status(NGX_HTTP_SERVICE_UNAVAILABLE);
    }
    const size_t i = decision.denied_claim;
    const ledger::ClaimTemplate& limit = *call.limits[i];
    const int64_t asked = call.claims[i].amount;
    return limit.unit == ledger::Unit::nano_usd
               ? refuse_budget(call, limit, decision.states[i], asked)
               : refuse_rate(call, limit, decision.states[i], asked);
}

}  // namespace module
