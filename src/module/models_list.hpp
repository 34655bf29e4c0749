#pragma once

#include <string>

#include "module/gateway.hpp"

namespace module {

// OpenAI's model list, {"object":"list","data":[…]}: the models and aliases that this caller may
// use.
std::string list_models(const Gateway& gateway, const Caller& caller);

}  // namespace module
