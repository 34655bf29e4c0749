#pragma once

#include <optional>

#include "llm/api_error.hpp"
#include "module/call.hpp"

namespace module {

// Finds the caller by the virtual key in `Authorization: Bearer`, `x-api-key` or `api-key`, in this
// order, and sets call.caller; or says why not.
std::optional<llm::ApiError> authenticate(Call& call);

}  // namespace module
