#pragma once

#include "io/ngx.hpp"
#include "llm/catalog.hpp"

namespace module {

// Fills a provider's place from its URL, http[s]://host[:port][/path], and sees to an nginx
// upstream group for it: the operator's own `upstream` block, when one of the host's name stands
// above in the configuration, else a new group with the host's addresses and idle connections kept
// alive. Addresses are resolved when the configuration is read, as for any literal proxy_pass.
// Throws ConfError.
void place_provider(ngx_conf_t* cf, llm::Provider& provider, std::string_view url);

}  // namespace module
