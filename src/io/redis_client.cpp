#include "io/redis_client.hpp"

#include <hiredis/hiredis.h>

#include <algorithm>

namespace io {

namespace {

// A connection whose oldest command waits for this many timeouts is given up.
constexpr ngx_msec_t kStuckTimeouts = 4;
constexpr int kDrainStepMs = 10;  // between looks at the clock

bool reached(ngx_msec_t now, ngx_msec_t when) noexcept {
    return static_cast<ngx_msec_int_t>(now - when) >= 0;
}

}  // namespace

RedisClient::RedisClient(const RedisConfig& config, std::vector<RedisCommand> setup,
                         Observer& observer)
    : timeout_ms_(static_cast<ngx_msec_t>(config.timeout_ms)),
      max_pending_(config.max_pending),
      observer_(observer),
      reply_timer_([](void* self) noexcept { static_cast<RedisClient*>(self)->check_deadlines(); },
                   this),
      link_(config, std::move(setup), *this) {}

bool RedisClient::submit(const RedisCommand& command, ReplyHandler& handler) noexcept {
    if (!accepts() || pending_.size() >= max_pending_) {
        return false;
    }
    try {
        pending_.push_back({&handler, ngx_current_msec, ready() ? std::string() : command.wire()});
    } catch (const std::bad_alloc&) {
        return false;
    }
    if (ready() && !link_.send(command)) {
        pending_.pop_back();
        return false;
    }
    ++stats_.commands;
    reply_timer_.set_keeps_worker(true);  // someone waits for the reply
    if (!reply_timer_.armed()) {
        arm_deadline(ngx_current_msec);
    }
    return true;
}

void RedisClient::on_ready() noexcept {
    ++stats_.connects;
    for (Pending& pending : pending_) {
        if (!link_.send(std::exchange(pending.unsent, {}))) {
            link_.drop("out of memory");
            return;
        }
    }
    observer_.on_ready();
}

void RedisClient::on_reply(const redisReply* reply) noexcept {
    ReplyHandler* handler = pending_.front().handler;
    pending_.pop_front();
    reply_timer_.set_keeps_worker(!pending_.empty());
    if (timed_out_ > 0) {
        --timed_out_;
    }
    stats_.errors += reply == nullptr || reply->type == REDIS_REPLY_ERROR ? 1 : 0;
    handler->on_reply(reply);
}

void RedisClient::on_lost() noexcept {
    ++stats_.losses;
    fail_pending();
}

void RedisClient::fail_pending() noexcept {
    reply_timer_.cancel();
    timed_out_ = 0;
    std::deque<Pending> orphans;
    orphans.swap(pending_);
    for (const Pending& orphan : orphans) {
        orphan.handler->on_reply(nullptr);
    }
}

void RedisClient::close() noexcept {
    link_.close();
    fail_pending();
}

void RedisClient::check_deadlines() noexcept {
    const ngx_msec_t now = ngx_current_msec;
    if (ready()) {
        check_replies(now);
    } else if (!pending_.empty() && reached(now, pending_.front().since + timeout_ms_)) {
        link_.begin_outage("no server in time");
    }
    arm_deadline(now);
}

void RedisClient::check_replies(ngx_msec_t now) noexcept {
    while (timed_out_ < pending_.size() && reached(now, pending_[timed_out_].since + timeout_ms_)) {
        ReplyHandler* handler = pending_[timed_out_++].handler;
        ++stats_.timeouts;
        handler->on_timeout();
    }
    if (!pending_.empty() && reached(now, pending_.front().since + kStuckTimeouts * timeout_ms_)) {
        link_.drop("no answer in time");
    }
}

void RedisClient::arm_deadline(ngx_msec_t now) noexcept {
    if (pending_.empty()) {
        return;
    }
    ngx_msec_t next = pending_.front().since + kStuckTimeouts * timeout_ms_;
    if (timed_out_ < pending_.size()) {
        const ngx_msec_t due = pending_[timed_out_].since + timeout_ms_;
        next = reached(next, due) ? due : next;
    }
    reply_timer_.arm(reached(now, next) ? 0 : next - now);
}

void RedisClient::drain(int64_t max_ms) noexcept {
    ngx_time_update();
    const ngx_msec_t deadline = ngx_current_msec + static_cast<ngx_msec_t>(max_ms);
    link_.connect();
    while ((link_.trying() || !pending_.empty()) && !reached(ngx_current_msec, deadline)) {
        link_.poll(kDrainStepMs);
        reply_timer_.fire_if_due();
    }
}

}  // namespace io
