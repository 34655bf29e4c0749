#include "module/body.hpp"

namespace module {

namespace {

bool append(ngx_http_request_t* r, ngx_buf_t* from, ngx_buf_t* to) noexcept {
    if (!ngx_buf_in_memory(from) && from->in_file) {
        const auto size = static_cast<size_t>(from->file_last - from->file_pos);
        const ssize_t n = ngx_read_file(from->file, to->last, size, from->file_pos);
        if (n == NGX_ERROR || static_cast<size_t>(n) != size) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "llm: request body file is short");
            return false;
        }
        to->last += size;
        return true;
    }
    if (ngx_buf_in_memory(from)) {  // not so: an empty buffer that only marks the end
        to->last = ngx_cpymem(to->last, from->pos, from->last - from->pos);
    }
    return true;
}

}  // namespace

std::optional<std::string_view> whole_body(ngx_http_request_t* r) noexcept {
    if (r->request_body == nullptr || r->request_body->bufs == nullptr) {
        return std::string_view();
    }
    ngx_chain_t* chain = r->request_body->bufs;
    if (chain->next == nullptr && ngx_buf_in_memory(chain->buf)) {
        return std::string_view(reinterpret_cast<char*>(chain->buf->pos),
                                static_cast<size_t>(chain->buf->last - chain->buf->pos));
    }
    size_t size = 0;
    for (const ngx_chain_t* link = chain; link != nullptr; link = link->next) {
        size += static_cast<size_t>(ngx_buf_size(link->buf));
    }
    ngx_buf_t* whole = ngx_create_temp_buf(r->pool, size);
    if (whole == nullptr) {
        return std::nullopt;
    }
    for (ngx_chain_t* link = chain; link != nullptr; link = link->next) {
        if (!append(r, link->buf, whole)) {
            return std::nullopt;
        }
    }
    return std::string_view(reinterpret_cast<char*>(whole->pos), size);
}

bool replace_body(ngx_http_request_t* r, std::string_view body,
                  const std::vector<llm::Splice>& splices) noexcept {
    const size_t size = llm::spliced_size(body, splices);
    ngx_chain_t* link = ngx_alloc_chain_link(r->pool);
    if (link == nullptr) {
        return false;
    }
    ngx_buf_t* buf = nullptr;
    if (splices.empty()) {
        // proxy_pass only moves the positions of the buffer, never its bytes.
        buf = static_cast<ngx_buf_t*>(ngx_calloc_buf(r->pool));
        if (buf == nullptr) {
            return false;
        }
        buf->start = buf->pos = reinterpret_cast<u_char*>(const_cast<char*>(body.data()));
        buf->end = buf->last = buf->pos + size;
        buf->memory = 1;
    } else {
        buf = ngx_create_temp_buf(r->pool, size);
        if (buf == nullptr) {
            return false;
        }
        llm::splice_into(body, splices, reinterpret_cast<char*>(buf->last));
        buf->last += size;
    }
    buf->last_buf = 1;
    link->buf = buf;
    link->next = nullptr;
    r->request_body->bufs = link;
    r->request_body->buf = buf;

    r->headers_in.content_length_n = static_cast<off_t>(size);
    if (r->headers_in.content_length != nullptr) {
        auto* digits = static_cast<u_char*>(ngx_pnalloc(r->pool, NGX_OFF_T_LEN));
        if (digits == nullptr) {
            return false;
        }
        ngx_str_t& value = r->headers_in.content_length->value;
        value.data = digits;
        value.len = static_cast<size_t>(ngx_sprintf(digits, "%uz", size) - digits);
    }
    return true;
}

}  // namespace module
