#include "module/filters.hpp"

#include "llm/api_error.hpp"
#include "module/call.hpp"
#include "module/headers.hpp"
#include "module/response.hpp"

namespace module {

namespace {

ngx_http_output_header_filter_pt next_header_filter;
ngx_http_output_body_filter_pt next_body_filter;

Response* response_of(ngx_http_request_t* r) noexcept {
    return static_cast<Response*>(ngx_http_get_module_ctx(r, ngx_http_llm_module));
}

// nginx has let go of the provider's connection: no more of an answer will come.
bool upstream_is_done(const ngx_http_upstream_t& upstream) noexcept {
    return upstream.cleanup == nullptr;
}

// An error page that nginx made itself, not the provider and not us.
bool made_by_nginx(const ngx_http_request_t* r, const Call* call) noexcept {
    if (r->headers_out.status < NGX_HTTP_BAD_REQUEST ||
        (call != nullptr && call->stage == Call::Stage::answered)) {
        return false;
    }
    return r->upstream == nullptr || upstream_is_done(*r->upstream);
}

// Puts a JSON error in the client's dialect in the place of what was to be sent.
void replace_with_error(Response& response, int status) {
    ngx_http_request_t* r = response.r;
    const llm::ApiError error = llm::from_status(status);
    const std::string body = llm::render(error, llm::client_dialect(io::view(r->uri)));
    if (response.call != nullptr) {
        response.call->error_kind = error.code;
    }
    const ngx_str_t copy = io::copy(r->pool, body);
    if (copy.data == nullptr) {
        throw std::bad_alloc();
    }
    response.mode = Response::Mode::replaced;
    response.replacement = copy;

    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);
    ngx_http_clear_last_modified(r);
    ngx_http_clear_etag(r);
    r->headers_out.status = static_cast<ngx_uint_t>(status);
    r->headers_out.status_line.len = 0;
    r->headers_out.content_length_n = static_cast<off_t>(copy.len);
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = nullptr;
    r->headers_out.charset.len = 0;
}

// What no client can use: a redirect or an informational answer, or a refusal of the gateway's own
// key (which it would take for its own, and in which some providers quote a part of it).
bool is_unusable(const Call& call) noexcept {
    const ngx_uint_t status = call.r->headers_out.status;
    return status < NGX_HTTP_OK ||
           (status >= NGX_HTTP_SPECIAL_RESPONSE && status < NGX_HTTP_BAD_REQUEST) ||
           status == NGX_HTTP_UNAUTHORIZED || status == NGX_HTTP_FORBIDDEN;
}

void refuse_unusable(Response& response) {
    ngx_http_request_t* r = response.r;
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "llm: provider \"%s\" answered %ui",
                  response.call->deployment()->provider->name.c_str(), r->headers_out.status);
    response.call->provider_status = static_cast<int>(r->headers_out.status);
    r->upstream->upgrade = 0;
    replace_with_error(response, NGX_HTTP_BAD_GATEWAY);
}

ngx_int_t header_filter(ngx_http_request_t* r) noexcept {
    const auto* conf = static_cast<LocConf*>(ngx_http_get_module_loc_conf(r, ngx_http_llm_module));
    if (!conf->enabled || r != r->main) {
        return next_header_filter(r);
    }
    try {
        Call* call = Call::find(r);
        const bool replace = made_by_nginx(r, call);
        if (call == nullptr && !replace) {
            return next_header_filter(r);
        }
        auto* response = io::make_in_pool<Response>(r->pool, r, call);
        if (response == nullptr) {
            return NGX_ERROR;
        }
        ngx_http_set_ctx(r, response, ngx_http_llm_module);
        if (call != nullptr) {
            add_call_headers(*call);
        }
        if (replace) {
            replace_with_error(*response, static_cast<int>(r->headers_out.status));
        } else if (call->stage == Call::Stage::forwarded && r->upstream != nullptr) {
            if (is_unusable(*call)) {
                refuse_unusable(*response);
            } else {
                response->begin();
            }
        }
        if (response->is_drained()) {
            // Of an answer that we do not read nothing is to be learnt.
            return call->parsed ? NGX_OK : NGX_ERROR;
        }
        return response->mode == Response::Mode::delayed ? NGX_OK : next_header_filter(r);
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "llm: %s", error.what());
        return NGX_ERROR;
    }
}

ngx_chain_t* one_buffer(ngx_http_request_t* r, std::string_view bytes, bool last) {
    auto* buf = static_cast<ngx_buf_t*>(ngx_calloc_buf(r->pool));
    ngx_chain_t* link = ngx_alloc_chain_link(r->pool);
    if (buf == nullptr || link == nullptr) {
        throw std::bad_alloc();
    }
    buf->start = buf->pos = reinterpret_cast<u_char*>(const_cast<char*>(bytes.data()));
    buf->end = buf->last = buf->pos + bytes.size();
    buf->memory = bytes.empty() ? 0 : 1;
    buf->last_buf = last ? 1 : 0;
    buf->last_in_chain = 1;
    link->buf = buf;
    link->next = nullptr;
    return link;
}

void consume(ngx_chain_t* in) noexcept {
    for (; in != nullptr; in = in->next) {
        in->buf->pos = in->buf->last;
        in->buf->file_pos = in->buf->file_last;
    }
}

bool has_last(const ngx_chain_t* chain) noexcept {
    for (; chain != nullptr; chain = chain->next) {
        if (chain->buf->last_buf) {
            return true;
        }
    }
    return false;
}

ngx_int_t send(Response& response, ngx_chain_t* out) noexcept {
    const ngx_int_t rc = next_body_filter(response.r, out);
    const bool client_left = rc == NGX_ERROR && response.r->connection->error;
    if (client_left && response.call != nullptr && begin_drain(response.r)) {
        consume(out);
        return NGX_OK;
    }
    return rc;
}

// nginx keeps the request for as long as a filter has something of it. A bit of the connection, not
// of the request: for that alone an unbuffered answer that goes on asks the filters for more.
constexpr unsigned kBuffered = 0x80;  // no other filter's, and none of NGX_LOWLEVEL_BUFFERED

ngx_int_t hold(Response& response, ngx_chain_t* out) noexcept {
    if (ngx_chain_add_copy(response.r->pool, &response.held, out) != NGX_OK) {
        return NGX_ERROR;
    }
    response.r->connection->buffered |= kBuffered;
    return NGX_AGAIN;
}

ngx_int_t send_held(Response& response) noexcept {
    response.r->connection->buffered &= ~kBuffered;
    return send(response, std::exchange(response.held, nullptr));
}

// What was passed on before goes on its way.
ngx_int_t flush(Response& response) noexcept {
    ngx_http_request_t* r = response.r;
    const bool holds = response.held != nullptr;
    if (holds && r->connection->buffered == kBuffered) {
        return NGX_AGAIN;  // there is nothing, which nginx's last filter takes for a mistake
    }
    const ngx_int_t rc = next_body_filter(r, nullptr);
    return rc == NGX_OK && holds ? NGX_AGAIN : rc;
}

// The end waits for the row, and for the disk if that is wanted: an answer that the client has
// whole is on record.
ngx_int_t pass_on(Response& response, ngx_chain_t* out) noexcept {
    Call* call = response.call;
    if (call == nullptr) {
        return send(response, out);
    }
    if (!call->finished && (call->is_complete() || response.ended() || has_last(out))) {
        finish(*call);
        await_disk(*call);
    }
    return call->awaits_disk ? hold(response, out) : send(response, out);
}

ngx_int_t send_replacement(Response& response, ngx_chain_t* in) {
    consume(in);
    if (response.replacement_sent) {
        return NGX_OK;
    }
    response.replacement_sent = true;
    return pass_on(response, one_buffer(response.r, io::view(response.replacement), true));
}

// The header that waited for the cost goes out, and what was kept of the body after it.
ngx_int_t release(Response& response, bool with_cost, bool last) {
    response.mode = Response::Mode::observed;
    if (with_cost) {
        add_cost_header(*response.call);
    }
    const ngx_int_t rc = next_header_filter(response.r);
    if (rc == NGX_ERROR || rc > NGX_OK || response.r->header_only) {
        return rc;
    }
    if (response.kept.empty() && !last) {
        return NGX_OK;
    }
    return pass_on(response, one_buffer(response.r, response.kept, last));
}

// The provider's answer broke off before its header went out: the client gets a whole error
// instead.
ngx_int_t release_error(Response& response) {
    replace_with_error(response, NGX_HTTP_BAD_GATEWAY);
    const ngx_int_t rc = next_header_filter(response.r);
    if (rc == NGX_ERROR || rc > NGX_OK || response.r->header_only) {
        return rc;
    }
    return send_replacement(response, nullptr);
}

ngx_int_t collect(Response& response, ngx_chain_t* in) {
    bool last = false;
    for (ngx_chain_t* link = in; link != nullptr; link = link->next) {
        response.observe(link->buf);
        response.keep(link->buf);
        last = last || link->buf->last_buf;
    }
    consume(in);
    if (last) {
        response.count_kept();
        return release(response, true, true);
    }
    if (response.kept.size() > Response::kMostKept) {
        return release(response, false, false);
    }
    return upstream_is_done(*response.r->upstream) ? release_error(response) : NGX_OK;
}

ngx_int_t edit(Response& response, ngx_chain_t* in) {
    ngx_chain_t* out = response.edit_stream(in);
    if (out == nullptr) {
        return NGX_OK;  // all of it is held back or hidden
    }
    const ngx_int_t rc = pass_on(response, out);
    if (response.held == nullptr) {
        response.recycle(out);
    }
    return rc;
}

// The client has left: what comes is read for its usage only.
ngx_int_t read_on(Response& response, ngx_chain_t* in) {
    Call& call = *response.call;
    size_t bytes = 0;
    bool last = false;
    for (ngx_chain_t* link = in; link != nullptr; link = link->next) {
        response.observe(link->buf);
        if (response.mode == Response::Mode::delayed) {
            response.keep(link->buf);
        }
        bytes += static_cast<size_t>(ngx_buf_size(link->buf));
        last = last || link->buf->last_buf;
    }
    consume(in);
    if (last) {
        response.count_kept();
        finish(call);
    }
    return call.drain->take(bytes) ? NGX_OK : NGX_ERROR;
}

ngx_int_t filter_body(Response& response, ngx_chain_t* in) {
    if (response.is_drained()) {
        return read_on(response, in);
    }
    switch (response.mode) {
        case Response::Mode::replaced:
            return send_replacement(response, in);
        case Response::Mode::delayed:
            return collect(response, in);
        case Response::Mode::edited:
            return edit(response, in);
        case Response::Mode::observed:
        case Response::Mode::passed:
            break;
    }
    for (ngx_chain_t* link = in; link != nullptr; link = link->next) {
        response.observe(link->buf);
    }
    return pass_on(response, in);
}

ngx_int_t body_filter(ngx_http_request_t* r, ngx_chain_t* in) noexcept {
    Response* response = r == r->main ? response_of(r) : nullptr;
    if (response == nullptr) {
        return next_body_filter(r, in);
    }
    if (response->held != nullptr && !response->call->awaits_disk) {
        if (const ngx_int_t rc = send_held(*response); in == nullptr || rc == NGX_ERROR) {
            return rc;
        }
    }
    if (in == nullptr && !response->is_drained()) {
        return flush(*response);
    }
    try {
        return filter_body(*response, in);
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "llm: %s", error.what());
        return NGX_ERROR;
    }
}

}  // namespace

void install_filters() noexcept {
    next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = header_filter;
    next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = body_filter;
}

}  // namespace module
