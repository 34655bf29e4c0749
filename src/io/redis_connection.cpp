#include "io/redis_connection.hpp"

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>

#include <algorithm>

namespace io {

RedisConnection::RedisConnection(Handler& handler) noexcept : handler_(handler), watcher_(*this) {
    flush_.data = this;
    flush_.log = ngx_cycle->log;
    flush_.handler = [](ngx_event_t* ev) noexcept {
        static_cast<RedisConnection*>(ev->data)->on_writable();
    };
}

bool RedisConnection::open(const RedisAddress& server) noexcept {
    redisAsyncContext* ac = server.port == 0 ? redisAsyncConnectUnix(server.host.c_str())
                                             : redisAsyncConnect(server.host.c_str(), server.port);
    if (ac == nullptr) {
        keep_error("out of memory");
        return false;
    }
    if (ac->err != 0 || !watcher_.attach(ac->c.fd)) {
        keep_error(ac->err != 0 ? ac->errstr : "no free connection");
        redisAsyncFree(ac);
        return false;
    }
    ac_ = ac;
    hook_events();
    return true;
}

void RedisConnection::hook_events() noexcept {
    ac_->data = this;
    ac_->ev.data = this;
    ac_->ev.addRead = [](void* self) noexcept {
        static_cast<RedisConnection*>(self)->watcher_.want_read(true);
    };
    ac_->ev.delRead = [](void* self) noexcept {
        static_cast<RedisConnection*>(self)->watcher_.want_read(false);
    };
    ac_->ev.addWrite = [](void* self) noexcept {
        static_cast<RedisConnection*>(self)->want_write();
    };
    ac_->ev.delWrite = [](void* self) noexcept {
        static_cast<RedisConnection*>(self)->want_write_ = false;
        static_cast<RedisConnection*>(self)->watcher_.want_write(false);
    };
    ac_->ev.cleanup = [](void* self) noexcept { static_cast<RedisConnection*>(self)->ended(); };
}

void RedisConnection::want_write() noexcept {
    want_write_ = true;
    const bool connecting = (ac_->c.flags & REDIS_CONNECTED) == 0;
    if (connecting || writing_) {
        watcher_.want_write(true);  // the socket is not writable now
    } else if (!flush_.posted) {
        ngx_post_event(&flush_, &ngx_posted_events);
    }
}

void RedisConnection::on_readable() noexcept {
    redisAsyncHandleRead(ac_);  // may end in ended()
}

void RedisConnection::on_writable() noexcept {
    writing_ = true;
    redisAsyncHandleWrite(ac_);  // may end in ended()
    writing_ = false;
}

bool RedisConnection::send(std::string_view wire) noexcept {
    const auto on_reply = [](redisAsyncContext*, void* reply, void* self) noexcept {
        if (reply != nullptr) {  // else it is ending: ended() tells
            static_cast<RedisConnection*>(self)->handler_.on_reply(
                *static_cast<redisReply*>(reply));
        }
    };
    return redisAsyncFormattedCommand(ac_, on_reply, this, wire.data(), wire.size()) == REDIS_OK;
}

void RedisConnection::close(std::string_view why) noexcept {
    if (ac_ != nullptr && !std::exchange(closing_, true)) {
        keep_error(why);
        redisAsyncFree(
            ac_);  // ends in ended(): at once, or after hiredis's callback that we are in
    }
}

void RedisConnection::ended() noexcept {
    const redisAsyncContext* ac = std::exchange(ac_, nullptr);
    if (!std::exchange(closing_, false)) {
        keep_error(ac->c.err != 0 ? ac->c.errstr : "connection closed");
    }
    watcher_.detach();
    delete_posted(&flush_);
    want_write_ = false;
    handler_.on_closed();
}

void RedisConnection::keep_error(std::string_view text) noexcept {
    const size_t size = std::min(text.size(), error_.size() - 1);
    std::copy_n(text.begin(), size, error_.begin());
    error_[size] = '\0';
}

void RedisConnection::poll(int max_ms) noexcept {
    if (!is_open()) {
        return;
    }
    pollfd socket{ac_->c.fd, static_cast<short>(POLLIN | (want_write_ ? POLLOUT : 0)), 0};
    const int rc = ::poll(&socket, 1, max_ms);
    ngx_time_update();
    if (rc > 0 && (socket.revents & POLLOUT) != 0) {
        on_writable();
    }
    // Only if that has not replaced it.
    if (rc > 0 && is_open() && ac_->c.fd == socket.fd && (socket.revents & ~POLLOUT) != 0) {
        on_readable();
    }
}

}  // namespace io
