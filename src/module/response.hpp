#pragma once

#include <string>

#include "io/ngx.hpp"
#include "module/call.hpp"

namespace module {

// How one response passes our filters. Made by the header filter, the module's context of the
// request from then on; in the request's pool.
class Response {
  public:
    enum class Mode : uint8_t {
        passed,    // not ours to read
        observed,  // read as it passes, bytes unchanged
        edited,    // a stream from which the usage chunk is taken out
        delayed,   // a JSON answer kept until its cost is known, so that the header can say it
        replaced,  // an error of ours instead
    };

    // A larger answer (embeddings in bulk) goes out without x-llm-cost.
    static constexpr size_t kMostKept = 1024 * 1024;

    Response(ngx_http_request_t* request, Call* call) noexcept : r(request), call(call) {}

    bool is_drained() const noexcept { return call != nullptr && call->drain != nullptr; }
    // The provider's header has come: decides the mode by what it announces.
    void begin();
    // Reads what is in the buffer, without moving its positions.
    void observe(const ngx_buf_t* buf);
    // The last byte of the length that the provider announced, or of the answer, was observed.
    bool ended() const noexcept { return ended_; }
    // Keeps what is in the buffer for the end.
    void keep(const ngx_buf_t* buf);
    // Counts a whole kept answer that told no usage.
    void count_kept();
    // What the client is to see of the chain, which is marked consumed where it was copied;
    // nullptr: nothing now. Give the result to recycle() once it was passed on.
    ngx_chain_t* edit_stream(ngx_chain_t* in);
    void recycle(ngx_chain_t* out) noexcept;

    ngx_http_request_t* r;
    Call* call;  // nullptr: nginx answered before the access phase
    Mode mode = Mode::passed;
    std::string kept;
    ngx_str_t replacement = ngx_null_string;
    bool replacement_sent = false;
    // The end of the answer, while it waits until the row is on disk; links of ours.
    ngx_chain_t* held = nullptr;

  private:
    bool ends_with(const ngx_buf_t* buf) noexcept;
    void note_first_output(const llm::ResponseFacts& facts) noexcept;
    ngx_chain_t* own_buffer(std::string_view bytes, const ngx_buf_t* like);

    off_t left_ = -1;  // bytes of the answer that are still to come; < 0: unknown
    bool ended_ = false;

    ngx_chain_t* free_ = nullptr;
    ngx_chain_t* busy_ = nullptr;
};

}  // namespace module
