#include "module/response.hpp"

#include <algorithm>

namespace module {

namespace {

constexpr size_t kOwnBuffer = 4096;

bool has_media_type(const ngx_http_request_t* r, std::string_view type) noexcept {
    const ngx_str_t& value = r->headers_out.content_type;
    return value.len >= type.size() &&
           ngx_strncasecmp(value.data, reinterpret_cast<u_char*>(const_cast<char*>(type.data())),
                           type.size()) == 0;
}

std::string_view bytes_of(const ngx_buf_t* buf) noexcept {
    if (!ngx_buf_in_memory(buf)) {
        return {};
    }
    return {reinterpret_cast<const char*>(buf->pos), static_cast<size_t>(buf->last - buf->pos)};
}

}  // namespace

void Response::begin() {
    call->provider_status = static_cast<int>(r->headers_out.status);
    left_ = r->headers_out.content_length_n;
    if (call->provider_status >= NGX_HTTP_SPECIAL_RESPONSE ||
        r->headers_out.content_encoding != nullptr) {
        return;
    }
    if (has_media_type(r, "text/event-stream")) {
        const bool hide_usage = !call->scanned.include_usage;
        call->count_output();
        call->tap.emplace<llm::SseTap>(hide_usage, call->output.get());
        mode = hide_usage ? Mode::edited : Mode::observed;
        if (hide_usage) {
            ngx_http_clear_content_length(r);
            ngx_http_clear_accept_ranges(r);
        }
        r->upstream->buffering = 0;
    } else if (has_media_type(r, "application/json")) {
        call->tap.emplace<llm::JsonTap>();
        const bool keep = left_ <= static_cast<off_t>(kMostKept);
        mode = keep && !r->header_only ? Mode::delayed : Mode::observed;
    } else {
        return;
    }
    call->parsed = true;
    r->filter_need_in_memory = 1;
}

void Response::note_first_output(const llm::ResponseFacts& facts) noexcept {
    if (call->first_output_ms < 0 && facts.has_output) {
        call->first_output_ms = io::wall_ms();
    }
}

// A client that was told the length has the whole answer before nginx sends an end of it.
bool Response::ends_with(const ngx_buf_t* buf) noexcept {
    left_ -= ngx_buf_size(buf);
    ended_ = buf->last_buf || left_ == 0;
    return ended_;
}

void Response::observe(const ngx_buf_t* buf) {
    if (ended_) {
        return;
    }
    const bool ends = ends_with(buf);
    const std::string_view bytes = bytes_of(buf);
    if (auto* json = std::get_if<llm::JsonTap>(&call->tap)) {
        json->feed(bytes);
        if (ends) {
            json->finish();
        }
        note_first_output(json->facts());
    } else if (auto* sse = std::get_if<llm::SseTap>(&call->tap)) {
        sse->pass(bytes);
        if (ends) {
            sse->finish();
        }
        note_first_output(sse->facts());
    }
}

void Response::keep(const ngx_buf_t* buf) {
    kept.append(bytes_of(buf));
}

void Response::count_kept() {
    if (!kept.empty() && call->is_complete() && call->lacks_usage()) {
        call->count_output();
        llm::read_json_response(kept, call->output.get());
    }
}

// A buffer of ours with a copy of `bytes` and the flags of the buffer that it stands for.
ngx_chain_t* Response::own_buffer(std::string_view bytes, const ngx_buf_t* like) {
    ngx_chain_t* link = ngx_chain_get_free_buf(r->pool, &free_);
    if (link == nullptr) {
        throw std::bad_alloc();
    }
    ngx_buf_t* buf = link->buf;
    if (static_cast<size_t>(buf->end - buf->start) < bytes.size()) {
        const size_t capacity = std::max(kOwnBuffer, 2 * bytes.size());
        buf->start = static_cast<u_char*>(ngx_palloc(r->pool, capacity));
        if (buf->start == nullptr) {
            throw std::bad_alloc();
        }
        buf->end = buf->start + capacity;
    }
    buf->pos = buf->start;
    buf->last = bytes.empty() ? buf->pos : ngx_cpymem(buf->pos, bytes.data(), bytes.size());
    buf->tag = static_cast<ngx_buf_tag_t>(&ngx_http_llm_module);
    buf->temporary = bytes.empty() ? 0 : 1;
    buf->flush = like->flush;
    buf->sync = like->sync;
    buf->last_buf = like->last_buf;
    buf->last_in_chain = like->last_in_chain;
    return link;
}

ngx_chain_t* Response::edit_stream(ngx_chain_t* in) {
    auto& sse = std::get<llm::SseTap>(call->tap);
    ngx_chain_t* out = nullptr;
    ngx_chain_t** end = &out;
    const auto append = [&end](ngx_chain_t* link) {
        *end = link;
        end = &link->next;
    };

    for (ngx_chain_t* link = in; link != nullptr; link = link->next) {
        ngx_buf_t* buf = link->buf;
        const std::string_view bytes = bytes_of(buf);
        std::string_view shown = sse.pass(bytes);
        if (shown.data() == bytes.data() && shown.size() == bytes.size() && !buf->last_buf) {
            ngx_chain_t* same = ngx_alloc_chain_link(r->pool);
            if (same == nullptr) {
                throw std::bad_alloc();
            }
            same->buf = buf;
            append(same);
            continue;
        }
        std::string rest;
        if (buf->last_buf) {
            rest.append(shown).append(sse.finish());
            shown = rest;
        }
        if (!shown.empty() || buf->last_buf || buf->flush || buf->sync) {
            append(own_buffer(shown, buf));
        }
        buf->pos = buf->last;
    }
    *end = nullptr;
    note_first_output(sse.facts());
    return out;
}

void Response::recycle(ngx_chain_t* out) noexcept {
    ngx_chain_update_chains(r->pool, &free_, &busy_, &out,
                            static_cast<ngx_buf_tag_t>(&ngx_http_llm_module));
}

}  // namespace module
