#pragma once

#include <string_view>

#include "module/call.hpp"

namespace module {

// A header of the request by its name in small letters; empty: it has none.
std::string_view request_header(const ngx_http_request_t* r,
                                std::string_view lowcase_name) noexcept;

// The headers that tell a client about its call: x-llm-*, x-ratelimit-*, x-budget-utilization,
// Retry-After.
void add_call_headers(const Call& call);

// x-llm-cost in USD, once the response has been read.
void add_cost_header(const Call& call);

// The largest used/limit over the call's budgets, in [0, …); negative: it has none.
double budget_utilization(const Call& call) noexcept;

}  // namespace module
