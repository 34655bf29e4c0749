#pragma once

#include "io/ngx.hpp"

namespace module {

// Puts our header and body filters in front of nginx's chains.
void install_filters() noexcept;

}  // namespace module
