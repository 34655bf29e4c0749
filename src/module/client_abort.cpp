#include "module/client_abort.hpp"

#include <sys/socket.h>

#include "module/call.hpp"

namespace module {

namespace {

constexpr ngx_msec_t kDrainMs = 30'000;
constexpr size_t kDrainBytes = 1024 * 1024;

void drop(ngx_chain_t* chain) noexcept {
    for (; chain != nullptr; chain = chain->next) {
        chain->buf->pos = chain->buf->last;
        chain->buf->file_pos = chain->buf->file_last;
    }
}

// nginx reads no more from a provider than it has free buffers for.
void drop_unsent(ngx_http_request_t* r) noexcept {
    drop(r->out);
    if (r->upstream == nullptr) {
        return;
    }
    drop(r->upstream->busy_bufs);
    if (r->upstream->pipe != nullptr) {
        drop(r->upstream->pipe->busy);
    }
}

bool has_left(ngx_http_request_t* r) noexcept {
    const ngx_connection_t* c = r->connection;
    if (c->error || c->read->pending_eof) {
        return true;
    }
    if (r->stream != nullptr) {
        return false;  // HTTP/2 tells by the error
    }
    char byte;
    const ssize_t n = ::recv(c->fd, &byte, 1, MSG_PEEK);
    return n == 0 || (n < 0 && ngx_socket_errno != NGX_EAGAIN && ngx_socket_errno != NGX_EINTR);
}

void watch_client(ngx_http_request_t* r) noexcept {
    if (!has_left(r)) {
        return;
    }
    if (!begin_drain(r)) {
        ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
        return;
    }
    r->read_event_handler = ngx_http_block_reading;
    // What waited for the client to take it goes on.
    ngx_post_event(r->connection->write, &ngx_posted_events);
}

}  // namespace

ClientAbort parse_client_abort(Arguments& args) {
    const std::string_view timeout = args.take("timeout");
    const std::string_view max_size = args.take("max_size");
    args.done(1);
    const std::string_view what = args.positional(0);
    if (what != "cut" && what != "drain") {
        throw ConfError("invalid value \"" + std::string(what) + "\", expected cut or drain");
    }
    if (what == "cut" && !(timeout.empty() && max_size.empty())) {
        throw ConfError("\"timeout\" and \"max_size\" are for \"drain\"");
    }
    ClientAbort abort;
    abort.drains = what == "drain";
    abort.drain_ms = timeout.empty() ? kDrainMs : parse_msec("timeout", timeout);
    abort.drain_bytes = max_size.empty() ? kDrainBytes : parse_size("max_size", max_size);
    return abort;
}

Drain::Drain(ngx_http_request_t* r, const ClientAbort& limits)
    : r_(r),
      left_(limits.drain_bytes),
      timeout_([](void* self) noexcept { static_cast<Drain*>(self)->give_up(); }, this) {
    timeout_.arm(limits.drain_ms);
}

bool Drain::take(size_t bytes) noexcept {
    if (bytes > left_) {
        return false;
    }
    left_ -= bytes;
    return true;
}

// Ends the request, and with it this object.
void Drain::give_up() noexcept {
    ngx_connection_t* c = r_->connection;
    ngx_http_finalize_request(r_, NGX_HTTP_CLIENT_CLOSED_REQUEST);
    ngx_http_run_posted_requests(c);
}

void watch_for_abort(ngx_http_request_t* r) noexcept {
    // What began nothing, or has failed already and gone on to another location, is not to be
    // watched.
    const Call* call = Call::find(r);
    if (call->stage == Call::Stage::forwarded && r->upstream != nullptr &&
        r->upstream->cleanup != nullptr && !r->header_sent) {
        r->read_event_handler = watch_client;
        r->write_event_handler = ngx_http_request_empty_handler;
    }
}

bool begin_drain(ngx_http_request_t* r) noexcept {
    Call* call = Call::find(r);
    const auto* conf = static_cast<LocConf*>(ngx_http_get_module_loc_conf(r, ngx_http_llm_module));
    if (call->drain != nullptr) {
        return true;
    }
    const bool unreadable = r->header_sent && !call->parsed;
    if (!conf->client_abort.drains || call->finished || unreadable ||
        call->stage != Call::Stage::forwarded) {
        return false;
    }
    try {
        call->drain = std::make_unique<Drain>(r, conf->client_abort);
    } catch (const std::exception&) {
        return false;
    }
    ngx_connection_t* c = r->connection;
    ngx_log_error(NGX_LOG_INFO, c->log, 0, "llm: the client has left, its answer is read on");
    c->error = 1;
    // The provider is not to wait until the client takes something.
    c->write->ready = 1;
    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }
    drop_unsent(r);
    return true;
}

}  // namespace module
