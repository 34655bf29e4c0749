#pragma once

#include <string>

#include "module/call.hpp"

namespace module {

// The answer to POST /utils/token_counter, once the prompt is counted: LiteLLM's fields, and
// whether the count is an estimate.
std::string token_count(const Call& call);

}  // namespace module
