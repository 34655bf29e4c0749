#pragma once

#include "io/ngx.hpp"

namespace module {

// Declares the $llm_* variables; called from preconfiguration.
ngx_int_t add_variables(ngx_conf_t* cf) noexcept;

}  // namespace module
