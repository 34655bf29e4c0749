#include "io/redis_client.hpp"

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>

#include <algorithm>

namespace io {

namespace {

constexpr ngx_msec_t kConnectTimeoutMs = 1000;
constexpr ngx_msec_t kLeastBackoffMs = 10;
constexpr ngx_msec_t kMostBackoffMs = 2000;
// A connection whose oldest command waits for this many timeouts is given up.
constexpr ngx_msec_t kStuckTimeouts = 4;

bool reached(ngx_msec_t now, ngx_msec_t when) noexcept {
    return static_cast<ngx_msec_int_t>(now - when) >= 0;
}

std::vector<RedisCommand> complete_setup(const RedisConfig& config,
                                         std::vector<RedisCommand> setup) {
    std::vector<RedisCommand> all;
    if (!config.user.empty()) {
        all.push_back(RedisCommand(3).add("AUTH").add(config.user).add(config.password));
    } else if (!config.password.empty()) {
        all.push_back(RedisCommand(2).add("AUTH").add(config.password));
    }
    if (config.database != 0) {
        all.push_back(RedisCommand(2).add("SELECT").add(int64_t{config.database}));
    }
    std::move(setup.begin(), setup.end(), std::back_inserter(all));
    all.push_back(RedisCommand(1).add("PING"));  // refused while the data set is being loaded
    return all;
}

// Errors of a server that cannot serve us for now, such as a primary that became a replica.
bool server_is_unfit(const redisReply& reply) noexcept {
    if (reply.type != REDIS_REPLY_ERROR) {
        return false;
    }
    const std::string_view error(reply.str, reply.len);
    return error.starts_with("READONLY") || error.starts_with("LOADING") ||
           error.starts_with("MASTERDOWN") || error.starts_with("NOAUTH");
}

}  // namespace

RedisClient::RedisClient(RedisConfig config, std::vector<RedisCommand> setup, Observer& observer)
    : config_(std::move(config)),
      setup_(complete_setup(config_, std::move(setup))),
      observer_(observer),
      watcher_(*this),
      backoff_ms_(kLeastBackoffMs),
      reply_timer_([](void* self) noexcept { static_cast<RedisClient*>(self)->check_deadlines(); },
                   this),
      link_timer_([](void* self) noexcept { static_cast<RedisClient*>(self)->link_timer_fired(); },
                  this) {
    flush_.data = this;
    flush_.log = ngx_cycle->log;
    flush_.handler = [](ngx_event_t* ev) noexcept {
        static_cast<RedisClient*>(ev->data)->on_writable();
    };
}

void RedisClient::connect() noexcept {
    if (ac_ != nullptr) {
        return;
    }
    state_ = State::connecting;
    link_timer_.arm(kConnectTimeoutMs);
    if (!open()) {
        reconnect_later();
    }
}

bool RedisClient::open() noexcept {
    redisAsyncContext* ac = config_.address.empty()
                                ? redisAsyncConnectUnix(config_.socket_path.c_str())
                                : redisAsyncConnect(config_.address.c_str(), config_.port);
    if (ac == nullptr) {
        report_failure("out of memory");
        return false;
    }
    if (ac->err != 0 || !watcher_.attach(ac->c.fd)) {
        report_failure(ac->err != 0 ? ac->errstr : "no free connection");
        redisAsyncFree(ac);
        return false;
    }
    ac_ = ac;
    hook_events();
    if (!send_setup()) {
        drop("out of memory");
    }
    return true;
}

bool RedisClient::send_setup() noexcept {
    setup_left_ = setup_.size();
    return std::all_of(setup_.begin(), setup_.end(),
                       [this](const RedisCommand& command) { return send(command, nullptr); });
}

void RedisClient::hook_events() noexcept {
    ac_->data = this;
    ac_->ev.data = this;
    ac_->ev.addRead = [](void* self) noexcept {
        static_cast<RedisClient*>(self)->watcher_.want_read(true);
    };
    ac_->ev.delRead = [](void* self) noexcept {
        static_cast<RedisClient*>(self)->watcher_.want_read(false);
    };
    ac_->ev.addWrite = [](void* self) noexcept { static_cast<RedisClient*>(self)->want_write(); };
    ac_->ev.delWrite = [](void* self) noexcept {
        static_cast<RedisClient*>(self)->want_write_ = false;
        static_cast<RedisClient*>(self)->watcher_.want_write(false);
    };
    ac_->ev.cleanup = [](void* self) noexcept { static_cast<RedisClient*>(self)->lost(); };
}

void RedisClient::want_write() noexcept {
    want_write_ = true;
    if (state_ == State::connecting || writing_) {
        watcher_.want_write(true);  // the socket is not writable now
    } else if (!flush_.posted) {
        ngx_post_event(&flush_, &ngx_posted_events);
    }
}

void RedisClient::on_readable() noexcept {
    redisAsyncHandleRead(ac_);
}

void RedisClient::on_writable() noexcept {
    writing_ = true;
    redisAsyncHandleWrite(ac_);  // may end in lost()
    writing_ = false;
}

bool RedisClient::submit(const RedisCommand& command, ReplyHandler& handler) noexcept {
    if (!accepts() || pending_.size() >= config_.max_pending || !send(command, &handler)) {
        return false;
    }
    ++stats_.commands;
    reply_timer_.set_keeps_worker(true);  // someone waits for the reply
    if (!reply_timer_.armed()) {
        arm_deadline(ngx_current_msec);
    }
    return true;
}

bool RedisClient::send(const RedisCommand& command, ReplyHandler* handler) noexcept {
    const auto on_reply = [](redisAsyncContext*, void* reply, void* self) noexcept {
        if (reply != nullptr) {  // else the connection is ending: lost() tells everyone
            static_cast<RedisClient*>(self)->take_reply(*static_cast<redisReply*>(reply));
        }
    };
    try {
        pending_.push_back({handler, ngx_current_msec});
    } catch (const std::bad_alloc&) {
        return false;
    }
    const std::string& wire = command.wire();
    if (redisAsyncFormattedCommand(ac_, on_reply, this, wire.data(), wire.size()) != REDIS_OK) {
        pending_.pop_back();
        return false;
    }
    return true;
}

void RedisClient::take_reply(const redisReply& reply) noexcept {
    const Pending pending = pending_.front();
    pending_.pop_front();
    reply_timer_.set_keeps_worker(!pending_.empty());
    if (timed_out_ > 0) {
        --timed_out_;
    }
    if (pending.handler == nullptr) {
        take_setup_reply(reply);
        return;
    }
    const bool unfit = server_is_unfit(reply);
    if (!unfit) {
        end_outage();
    }
    stats_.errors += reply.type == REDIS_REPLY_ERROR ? 1 : 0;
    pending.handler->on_reply(&reply);
    if (unfit && state_ == State::ready) {
        drop({reply.str, reply.len});
    }
}

void RedisClient::take_setup_reply(const redisReply& reply) noexcept {
    if (reply.type == REDIS_REPLY_ERROR) {
        drop({reply.str, reply.len});
        return;
    }
    if (--setup_left_ > 0) {
        return;
    }
    link_timer_.cancel();
    state_ = State::ready;
    ++stats_.connects;
    observer_.on_ready();
}

// Only what a command was answered with shows that the server serves: a read-only replica accepts
// the set-up too.
void RedisClient::end_outage() noexcept {
    backoff_ms_ = kLeastBackoffMs;
    if (std::exchange(failure_reported_, false)) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0, "llm: redis serves again");
    }
}

void RedisClient::drop(std::string_view why) noexcept {
    report_failure(why);
    if (state_ == State::ready) {
        ++stats_.losses;
    }
    state_ = State::dropping;
    redisAsyncFree(ac_);  // ends in lost(): at once, or after hiredis's callback that we are in
}

void RedisClient::lost() noexcept {
    if (state_ == State::ready || state_ == State::connecting) {
        report_failure(ac_->c.err != 0 ? ac_->c.errstr : "connection closed");
        stats_.losses += state_ == State::ready ? 1 : 0;
    }
    watcher_.detach();
    delete_posted(&flush_);
    reply_timer_.cancel();
    link_timer_.cancel();
    ac_ = nullptr;
    want_write_ = false;
    timed_out_ = 0;
    std::deque<Pending> orphans;
    orphans.swap(pending_);
    if (state_ != State::closed) {
        reconnect_later();
    }
    for (const Pending& orphan : orphans) {
        if (orphan.handler != nullptr) {
            orphan.handler->on_reply(nullptr);
        }
    }
}

void RedisClient::reconnect_later() noexcept {
    state_ = State::waiting;
    const ngx_msec_t half = backoff_ms_ / 2;
    link_timer_.arm(half + static_cast<ngx_msec_t>(ngx_random()) % (half + 1));
    backoff_ms_ = std::min(backoff_ms_ * 2, kMostBackoffMs);
}

// Once per outage.
void RedisClient::report_failure(std::string_view why) noexcept {
    if (!std::exchange(failure_reported_, true)) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "llm: redis: %*s", why.size(), why.data());
    }
}

void RedisClient::link_timer_fired() noexcept {
    if (state_ == State::waiting) {
        connect();
    } else if (state_ == State::connecting) {
        drop("no connection in time");
    }
}

void RedisClient::close() noexcept {
    state_ = State::closed;
    link_timer_.cancel();
    if (ac_ != nullptr) {
        redisAsyncFree(ac_);
    }
}

void RedisClient::check_deadlines() noexcept {
    const ngx_msec_t now = ngx_current_msec;
    const auto timeout = static_cast<ngx_msec_t>(config_.timeout_ms);
    while (timed_out_ < pending_.size() && reached(now, pending_[timed_out_].sent + timeout)) {
        ReplyHandler* handler = pending_[timed_out_++].handler;
        ++stats_.timeouts;
        if (handler != nullptr) {
            handler->on_timeout();
        }
    }
    if (!pending_.empty() && reached(now, pending_.front().sent + kStuckTimeouts * timeout)) {
        drop("no answer in time");
        return;
    }
    arm_deadline(now);
}

void RedisClient::arm_deadline(ngx_msec_t now) noexcept {
    if (pending_.empty()) {
        return;
    }
    const auto timeout = static_cast<ngx_msec_t>(config_.timeout_ms);
    ngx_msec_t next = pending_.front().sent + kStuckTimeouts * timeout;
    if (timed_out_ < pending_.size()) {
        const ngx_msec_t due = pending_[timed_out_].sent + timeout;
        next = reached(next, due) ? due : next;
    }
    reply_timer_.arm(reached(now, next) ? 0 : next - now);
}

void RedisClient::drain(int64_t max_ms) noexcept {
    ngx_time_update();
    const ngx_msec_t deadline = ngx_current_msec + static_cast<ngx_msec_t>(max_ms);
    connect();
    while (ac_ != nullptr && (state_ == State::connecting || !pending_.empty()) &&
           !reached(ngx_current_msec, deadline)) {
        pollfd socket{ac_->c.fd, static_cast<short>(POLLIN | (want_write_ ? POLLOUT : 0)), 0};
        const int rc = poll(&socket, 1, static_cast<int>(deadline - ngx_current_msec));
        if (rc < 0 && errno != EINTR) {
            return;
        }
        ngx_time_update();
        if (rc > 0 && (socket.revents & POLLOUT) != 0) {
            on_writable();
        }
        if (rc > 0 && ac_ != nullptr && (socket.revents & ~POLLOUT) != 0) {
            on_readable();
        }
    }
}

}  // namespace io
