#pragma once

#include "io/ngx.hpp"
#include "io/timer.hpp"

namespace module {

class Arguments;

// What becomes of an answer whose client leaves (llm_client_abort).
struct ClientAbort {
    ngx_flag_t drains;    // it is read on, so that the provider's usage is known
    ngx_msec_t drain_ms;  // at most so long, and so much of it
    size_t drain_bytes;
};

// The arguments of llm_client_abort; throws ConfError.
ClientAbort parse_client_abort(Arguments& args);

// One answer that is read on although its client has left. Lives no longer than its request.
class Drain {
  public:
    Drain(ngx_http_request_t* r, const ClientAbort& limits);

    // False: more than the bound has come.
    bool take(size_t bytes) noexcept;

  private:
    void give_up() noexcept;

    ngx_http_request_t* r_;
    size_t left_;
    io::Timer timeout_;
};

// To be called when the location's content handler has run: from then on the client's leaving
// begins a drain, and does not end the request.
void watch_for_abort(ngx_http_request_t* r) noexcept;

// Begins a drain, unless the location cuts, the call is on record, or its answer cannot be read.
// True: one is under way; what was on its way to the client is forgotten.
bool begin_drain(ngx_http_request_t* r) noexcept;

}  // namespace module
