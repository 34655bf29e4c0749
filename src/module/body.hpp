#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "io/ngx.hpp"
#include "llm/body_edit.hpp"

namespace module {

// The request's body in one piece, wherever nginx has put it; in the request's pool or its buffers,
// valid as long as the request. Nothing: out of memory or an unreadable temporary file, logged. A
// body in a temporary file is read from the page cache at once: keep client_body_buffer_size above
// the usual size.
std::optional<std::string_view> whole_body(ngx_http_request_t* r) noexcept;

// Makes proxy_pass send `body` with `splices` applied. `body` itself stays as it is, for a further
// attempt. False: out of memory.
bool replace_body(ngx_http_request_t* r, std::string_view body,
                  const std::vector<llm::Splice>& splices) noexcept;

}  // namespace module
