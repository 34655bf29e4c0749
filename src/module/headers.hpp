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

// All that apply to a call, or those whose figures its client may know.
enum class Budgets { all, of_caller };

// The largest used/limit over these budgets of the call, in [0, …); negative: it has none.
double budget_utilization(const Call& call, Budgets budgets) noexcept;

}  // namespace module
