#include "io/redis_sentinel.hpp"

#include <hiredis/hiredis.h>

#include <algorithm>

#include "io/redis_error.hpp"

namespace io {

namespace {

constexpr ngx_msec_t kAnswerMs = 500;

bool is_address(const redisReply& reply) noexcept {
    return reply.type == REDIS_REPLY_ARRAY && reply.elements == 2 &&
           reply.element[0]->type == REDIS_REPLY_STRING &&
           reply.element[1]->type == REDIS_REPLY_STRING;
}

std::string_view text_of(const redisReply& reply) noexcept {
    return {reply.str, reply.len};
}

RedisCommand make_question(std::string_view name) {
    return RedisCommand(3).add("SENTINEL").add("GET-MASTER-ADDR-BY-NAME").add(name);
}

}  // namespace

RedisSentinel::RedisSentinel(const RedisConfig& config, Observer& observer)
    : observer_(observer),
      sentinels_(config.servers),
      login_(login_commands(config.sentinel_credentials)),
      question_(make_question(config.primary_name)),
      connection_(*this),
      timer_(
          [](void* self) noexcept {
              static_cast<RedisSentinel*>(self)->connection_.close("no answer in time");
          },
          this) {}

void RedisSentinel::ask() noexcept {
    if (!asking()) {
        left_ = sentinels_.size();
        ask_current();
    }
}

void RedisSentinel::ask_current() noexcept {
    timer_.arm(kAnswerMs);
    const bool fresh = !connection_.is_open();
    if (fresh && !connection_.open(sentinels_.current())) {
        ask_next();
        return;
    }
    if ((fresh && !log_in()) || !connection_.send(question_.wire())) {
        connection_.close("out of memory");
    }
}

bool RedisSentinel::log_in() noexcept {
    login_left_ = login_.size();
    return std::all_of(login_.begin(), login_.end(), [this](const RedisCommand& command) {
        return connection_.send(command.wire());
    });
}

void RedisSentinel::on_reply(const redisReply& reply) noexcept {
    if (reply.type == REDIS_REPLY_ERROR) {
        connection_.close(without_arguments(text_of(reply)));
    } else if (login_left_ > 0) {
        --login_left_;
    } else if (is_address(reply)) {
        take_address(reply);
    } else {
        connection_.close("it does not know that name of a primary");
    }
}

void RedisSentinel::take_address(const redisReply& reply) noexcept {
    std::optional<RedisAddress> primary;
    try {
        primary = numeric_address(text_of(*reply.element[0]), text_of(*reply.element[1]));
    } catch (const std::bad_alloc&) {
        // as if it had none
    }
    if (!primary) {
        connection_.close("it names a host, not an address: set sentinel announce-hostnames no");
        return;
    }
    left_ = 0;
    timer_.cancel();
    observer_.on_primary(std::move(*primary));
}

void RedisSentinel::on_closed() noexcept {
    if (asking()) {
        ask_next();
    }
}

void RedisSentinel::ask_next() noexcept {
    timer_.cancel();
    const RedisAddress& asked = sentinels_.current();
    sentinels_.next();
    if (--left_ > 0) {
        ask_current();
    } else {
        observer_.on_no_primary(asked, connection_.error());
    }
}

void RedisSentinel::pass_over() noexcept {
    connection_.close();
    sentinels_.next();
}

void RedisSentinel::close() noexcept {
    left_ = 0;
    timer_.cancel();
    connection_.close();
}

void RedisSentinel::poll(int max_ms) noexcept {
    connection_.poll(max_ms);
    timer_.fire_if_due();
}

}  // namespace io
