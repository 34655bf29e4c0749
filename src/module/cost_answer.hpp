#pragma once

#include <optional>
#include <string>

#include "module/call.hpp"

namespace module {

// POST /spend/calculate and /cost/estimate. A body that tells a usage (see llm/cost_query.hpp) is
// answered at once: the answer's return code. Nothing: it tells none, so that its prompt is to be
// counted.
std::optional<ngx_int_t> answer_cost_query(Call& call);

// The answer for a prompt that was counted, with as much output as it asks for.
std::string cost_of_request(const Call& call);

}  // namespace module
