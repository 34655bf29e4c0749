#pragma once

#include <string>

#include "module/gateway.hpp"

namespace module {

// OpenAI's model list, {"object":"list","data":[…]}: the models and aliases that this caller may
// use.
std::string list_models(const Gateway& gateway, const Caller& caller);

// LiteLLM's GET /model/info, {"data":[…]}: every deployment of the models that this caller may use,
// and the standard prices of a short prompt, in USD per token.
std::string describe_models(const Gateway& gateway, const Caller& caller);

}  // namespace module
