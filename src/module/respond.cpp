#include "module/call.hpp"

namespace module {

namespace {

ngx_int_t send(ngx_http_request_t* r, ngx_uint_t status, std::string_view body) noexcept {
    const ngx_str_t copy = io::copy(r->pool, body);
    auto* buf = static_cast<ngx_buf_t*>(ngx_calloc_buf(r->pool));
    if (copy.data == nullptr || buf == nullptr) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (const ngx_int_t rc = ngx_http_discard_request_body(r); rc != NGX_OK) {
        return rc;
    }
    r->headers_out.status = status;
    r->headers_out.content_length_n = static_cast<off_t>(copy.len);
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = nullptr;

    const ngx_int_t rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }
    buf->pos = copy.data;
    buf->last = copy.data + copy.len;
    buf->memory = 1;
    buf->last_buf = 1;
    buf->last_in_chain = 1;
    ngx_chain_t out = {buf, nullptr};
    return ngx_http_output_filter(r, &out);
}

}  // namespace

ngx_int_t answer_json(Call& call, ngx_uint_t status, std::string_view body) {
    call.stage = Call::Stage::answered;
    ngx_http_request_t* r = call.r;
    ngx_http_finalize_request(r, send(r, status, body));
    return NGX_DONE;
}

ngx_int_t answer_error(Call& call, const llm::ApiError& error) {
    call.error_kind = error.code.empty() ? error.type : error.code;
    return answer_json(call, static_cast<ngx_uint_t>(error.status),
                       llm::render(error, call.dialect));
}

}  // namespace module
