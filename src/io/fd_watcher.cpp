#include "io/fd_watcher.hpp"

namespace io {

namespace {

bool set_interest(ngx_event_t* ev, ngx_int_t direction, bool on) noexcept {
    if (on == static_cast<bool>(ev->active)) {
        return true;
    }
    const ngx_int_t rc = on ? ngx_add_event(ev, direction, NGX_LEVEL_EVENT)
                            : ngx_del_event(ev, direction, NGX_LEVEL_EVENT);
    return rc == NGX_OK;
}

}  // namespace

bool FdWatcher::attach(int fd) noexcept {
    detach();
    ngx_connection_t* c = ngx_get_connection(fd, ngx_cycle->log);
    if (c == nullptr) {
        return false;
    }
    c->data = this;
    c->log = ngx_cycle->log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = read_event;
    c->write->handler = write_event;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->idle = 1;  // so that ngx_close_idle_connections tells us of a shutdown
    connection_ = c;
    return true;
}

void FdWatcher::detach(bool fd_closed) noexcept {
    if (connection_ == nullptr) {
        return;
    }
    ngx_connection_t* c = std::exchange(connection_, nullptr);
    if (fd_closed) {
        c->read->active = 0;
        c->write->active = 0;
    } else {
        set_interest(c->read, NGX_READ_EVENT, false);
        set_interest(c->write, NGX_WRITE_EVENT, false);
    }
    c->idle = 0;
    c->shared = 1;  // ngx_close_connection then frees the slot and leaves the socket alone
    ngx_close_connection(c);
}

bool FdWatcher::want_read(bool on) noexcept {
    return connection_ != nullptr && set_interest(connection_->read, NGX_READ_EVENT, on);
}

bool FdWatcher::want_write(bool on) noexcept {
    return connection_ != nullptr && set_interest(connection_->write, NGX_WRITE_EVENT, on);
}

void FdWatcher::read_event(ngx_event_t* ev) noexcept {
    auto* c = static_cast<ngx_connection_t*>(ev->data);
    auto* self = static_cast<FdWatcher*>(c->data);
    if (c->close || c->error) {
        // Once per request to close: a handler with work to finish goes on reading afterwards.
        c->close = 0;
        c->error = 0;
        self->handler_.on_worker_closing();
        return;
    }
    self->handler_.on_readable();
}

void FdWatcher::write_event(ngx_event_t* ev) noexcept {
    auto* c = static_cast<ngx_connection_t*>(ev->data);
    static_cast<FdWatcher*>(c->data)->handler_.on_writable();
}

}  // namespace io
