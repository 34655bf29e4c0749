#pragma once

#include <string>

#include "module/call.hpp"

namespace module {

// OpenAI's model list, {"object":"list","data":[…]}: the models and aliases that the caller may
// use.
std::string list_models(const Call& call);

// LiteLLM's GET /model/info, {"data":[…]}: every deployment of the models that the caller may use,
// and the standard prices of a short prompt, in USD per token.
std::string describe_models(const Call& call);

}  // namespace module
