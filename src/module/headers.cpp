#include "module/headers.hpp"

#include <algorithm>
#include <cstdio>

#include "llm/duration.hpp"

namespace module {

namespace {

// Of several limits of a unit whose figures the client may know, it is told the one that leaves it
// least.
const ledger::ClaimTemplate* tightest(const Call& call, ledger::Unit unit,
                                      const ledger::CounterState** state) noexcept {
    const ledger::ClaimTemplate* found = nullptr;
    int64_t least = 0;
    for (size_t i = 0; i < call.n_claims; ++i) {
        const ledger::ClaimTemplate& limit = *call.limits[i];
        const int64_t remaining = limit.limit - call.decision.states[i].used;
        const bool told = limit.unit == unit && ledger::is_of_caller(limit.scope);
        if (told && (found == nullptr || remaining < least)) {
            found = &limit;
            least = remaining;
            *state = &call.decision.states[i];
        }
    }
    return found;
}

// The name is static text; the value is copied.
void add_header(ngx_http_request_t* r, std::string_view name, std::string_view value) {
    const ngx_str_t text = io::copy(r->pool, value);
    auto* h = static_cast<ngx_table_elt_t*>(ngx_list_push(&r->headers_out.headers));
    if (h == nullptr) {
        throw std::bad_alloc();
    }
    *h = {};
    if (text.data == nullptr) {
        throw std::bad_alloc();  // hash is 0 still: the header is not sent
    }
    h->key = io::borrow(name);
    h->value = text;
    h->hash = 1;
}

struct RateHeaders {
    std::string_view limit;
    std::string_view remaining;
    std::string_view reset;
};

constexpr RateHeaders kRequests{"x-ratelimit-limit-requests", "x-ratelimit-remaining-requests",
                                "x-ratelimit-reset-requests"};
constexpr RateHeaders kTokens{"x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens",
                              "x-ratelimit-reset-tokens"};

void add_rate_headers(const Call& call, ledger::Unit unit, const RateHeaders& names) {
    const ledger::CounterState* state = nullptr;
    const ledger::ClaimTemplate* limit = tightest(call, unit, &state);
    if (limit == nullptr) {
        return;
    }
    const int64_t remaining = std::max<int64_t>(0, limit->limit - state->used);
    add_header(call.r, names.limit, std::to_string(limit->limit));
    add_header(call.r, names.remaining, std::to_string(remaining));
    add_header(call.r, names.reset, llm::format_duration(state->reset_ms));
}

bool was_judged(const Call& call) noexcept {
    return call.decision.outcome != ledger::Outcome::unavailable;
}

}  // namespace

std::string_view request_header(const ngx_http_request_t* r,
                                std::string_view lowcase_name) noexcept {
    for (const ngx_list_part_t* part = &r->headers_in.headers.part; part != nullptr;
         part = part->next) {
        const auto* headers = static_cast<const ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; ++i) {
            const ngx_table_elt_t& h = headers[i];
            if (h.key.len == lowcase_name.size() &&
                ngx_strncmp(h.lowcase_key, lowcase_name.data(), h.key.len) == 0) {
                return io::view(h.value);
            }
        }
    }
    return {};
}

double budget_utilization(const Call& call, Budgets budgets) noexcept {
    double most = -1;
    for (size_t i = 0; was_judged(call) && i < call.n_claims; ++i) {
        const ledger::ClaimTemplate& limit = *call.limits[i];
        const bool wanted = budgets == Budgets::all || ledger::is_of_caller(limit.scope);
        if (!wanted || limit.unit != ledger::Unit::nano_usd || !limit.has_limit()) {
            continue;
        }
        const auto used = static_cast<double>(call.decision.states[i].used);
        most = std::max(most, limit.limit > 0 ? used / static_cast<double>(limit.limit) : 1.0);
    }
    return most;
}

void add_call_headers(const Call& call) {
    ngx_http_request_t* r = call.r;
    add_header(r, "x-llm-request-id", llm::to_string(call.id));
    if (call.model != nullptr) {
        add_header(r, "x-llm-model", call.model->name);
    }
    if (call.downgraded()) {
        add_header(r, "x-model-downgraded", "true");
    }
    if (const llm::Deployment* deployment = call.deployment()) {
        add_header(r, "x-llm-provider", deployment->provider->name);
    }
    if (was_judged(call)) {
        add_rate_headers(call, ledger::Unit::requests, kRequests);
        add_rate_headers(call, ledger::Unit::tokens, kTokens);
    }
    if (const double utilization = budget_utilization(call, Budgets::of_caller); utilization >= 0) {
        char text[32];
        std::snprintf(text, sizeof(text), "%.4f", utilization);
        add_header(r, "x-budget-utilization", text);
    }
    if (call.retry_after_s > 0) {
        add_header(r, "Retry-After", std::to_string(call.retry_after_s));
    }
    if (call.no_retry) {
        add_header(r, "x-should-retry", "false");
    }
}

void add_cost_header(const Call& call) {
    add_header(call.r, "x-llm-cost", llm::format_usd(call.charge_so_far().cost.total()));
}

}  // namespace module
