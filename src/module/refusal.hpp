#pragma once

#include "llm/api_error.hpp"
#include "module/call.hpp"

namespace module {

// The error for a decision that did not admit the call: which limit, and when it lifts. Sets the
// call's Retry-After and x-should-retry.
llm::ApiError refuse(Call& call);

}  // namespace module
