#pragma once

#include "module/conf.hpp"

namespace module {

// Puts a guard in front of what a location of `llm on` has for content handler, the only way to a
// provider. nginx runs no access phase for subrequests (mirror, auth_request, SSI, slices …), some
// begin in the content phase: the guard lets only pass what the access handler has admitted. To be
// called once for each location, when the modules that set its handler have merged theirs.
void guard_content(ngx_http_core_loc_conf_t& core, LocConf& conf, const LocConf& parent) noexcept;

// What the guard answers, with a line in the error log. The status is in no list of error_page.
ngx_int_t refuse_entrance(const ngx_http_request_t* r) noexcept;

}  // namespace module
