#include "io/redis_link.hpp"

#include <hiredis/hiredis.h>

#include <algorithm>

#include "io/redis_error.hpp"

namespace io {

namespace {

constexpr ngx_msec_t kConnectTimeoutMs = 1000;
constexpr ngx_msec_t kLeastBackoffMs = 10;
constexpr ngx_msec_t kMostBackoffMs = 2000;
constexpr ngx_msec_t kAskAgainMs = 1000;
// A connection that was lost sooner does not begin a new round, so that servers which accept us and
// then fail are not tried in a tight loop.
constexpr ngx_msec_t kStableMs = 1000;

// To look it up would block.
constexpr std::string_view kMovedToName =
    "MOVED names a host, not an address: set cluster-preferred-endpoint-type ip";

std::vector<RedisCommand> complete_setup(const RedisConfig& config,
                                         std::vector<RedisCommand> setup) {
    std::vector<RedisCommand> all = login_commands(config.credentials);
    if (config.database != 0) {
        all.push_back(RedisCommand(2).add("SELECT").add(int64_t{config.database}));
    }
    std::move(setup.begin(), setup.end(), std::back_inserter(all));
    all.push_back(RedisCommand(1).add("PING"));  // refused while the data set is being loaded
    all.push_back(RedisCommand(1).add("ROLE"));  // the last one: see take_setup_reply()
    return all;
}

std::string_view text_of(const redisReply& reply) noexcept {
    return {reply.str, reply.len};
}

bool is_replica(const redisReply& role) noexcept {
    return role.type == REDIS_REPLY_ARRAY && role.elements > 0 &&
           role.element[0]->type == REDIS_REPLY_STRING && text_of(*role.element[0]) != "master";
}

}  // namespace

RedisLink::RedisLink(const RedisConfig& config, std::vector<RedisCommand> setup, Handler& handler)
    : handler_(handler),
      setup_(complete_setup(config, std::move(setup))),
      servers_(config.primary_name.empty() ? config.servers : std::vector<RedisAddress>()),
      sentinel_(config.primary_name.empty() ? nullptr : make_sentinel(config)),
      connection_(*this),
      backoff_ms_(kLeastBackoffMs),
      timer_([](void* self) noexcept { static_cast<RedisLink*>(self)->timer_fired(); }, this) {}

std::unique_ptr<RedisSentinel> RedisLink::make_sentinel(const RedisConfig& config) {
    RedisSentinel::Observer& observer = *this;
    return std::make_unique<RedisSentinel>(config, observer);
}

void RedisLink::connect() noexcept {
    if (state_ == State::closed || state_ == State::waiting) {
        attempts_left_ = round();
        try_server();
    }
}

void RedisLink::try_server() noexcept {
    --attempts_left_;
    timer_.cancel();
    if (sentinel_ != nullptr) {
        state_ = State::asking;
        sentinel_->ask();
    } else {
        open();
    }
}

void RedisLink::on_primary(RedisAddress&& primary) noexcept {
    if (state_ == State::asking) {
        servers_.go_to(std::move(primary));
        open();
    } else if (ready() && primary != servers_.current()) {
        drop("Sentinels have another primary");
    } else if (ready()) {
        timer_.arm(kAskAgainMs);
    }
}

void RedisLink::on_no_primary(const RedisAddress& sentinel, std::string_view why) noexcept {
    if (state_ == State::asking) {
        failed(sentinel, why);
        try_again();
    } else if (ready()) {
        timer_.arm(kAskAgainMs);
    }
}

void RedisLink::open() noexcept {
    state_ = State::connecting;
    timer_.arm(kConnectTimeoutMs);
    if (!connection_.open(servers_.current())) {
        failed(servers_.current(), connection_.error());
        try_again();
    } else if (!send_setup()) {
        drop("out of memory");
    }
}

bool RedisLink::send_setup() noexcept {
    setup_left_ = setup_.size();
    return std::all_of(setup_.begin(), setup_.end(),
                       [this](const RedisCommand& command) { return send(command); });
}

void RedisLink::on_reply(const redisReply& reply) noexcept {
    if (setup_left_ > 0) {
        take_setup_reply(reply);
    } else if (reply.type == REDIS_REPLY_ERROR && leave_if_unfit(text_of(reply))) {
        handler_.on_reply(nullptr);
    } else {
        served();
        handler_.on_reply(&reply);
    }
}

// Whoever may not ask for the ROLE finds out by his first write.
void RedisLink::take_setup_reply(const redisReply& reply) noexcept {
    const bool last = --setup_left_ == 0;
    if (last && is_replica(reply)) {
        drop("not a primary");
    } else if (last) {
        become_ready();
    } else if (reply.type == REDIS_REPLY_ERROR && !leave_if_unfit(text_of(reply))) {
        drop(without_arguments(text_of(reply)));
    }
}

void RedisLink::become_ready() noexcept {
    state_ = State::ready;
    was_ready_ = true;
    ready_at_ = ngx_current_msec;
    timer_.cancel();
    if (sentinel_ != nullptr) {
        timer_.arm(kAskAgainMs);
    }
    handler_.on_ready();
}

// Only what a command was answered with shows that the server serves.
void RedisLink::served() noexcept {
    outage_ = false;
    if (std::exchange(failure_logged_, false)) {
        const auto& [host, port] = servers_.current();
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0, "llm: redis serves again: %s port %ui",
                      host.c_str(), ngx_uint_t{port});
    }
}

bool RedisLink::leave_if_unfit(std::string_view error) noexcept {
    if (!server_is_unfit(error)) {
        return false;
    }
    if (!follow(error)) {
        drop(error.starts_with("MOVED") ? kMovedToName : error);
    }
    return true;
}

// A node that this one names is tried next. Nodes that name each other end the round.
bool RedisLink::follow(std::string_view error) noexcept {
    const RedisAddress& asked = servers_.current();
    try {
        std::optional<RedisAddress> named = moved_to(error, asked);
        if (sentinel_ != nullptr || !named) {
            return false;
        }
        begin_round_if_stable();
        attempts_left_ += servers_.go_to(std::move(*named)) ? 1 : 0;
    } catch (const std::bad_alloc&) {
        return false;
    }
    log_failure(asked, error);
    state_ = State::dropping;
    connection_.close();
    return true;
}

void RedisLink::drop(std::string_view why) noexcept {
    failed(servers_.current(), why);
    state_ = State::dropping;
    connection_.close();
}

void RedisLink::on_closed() noexcept {
    timer_.cancel();
    setup_left_ = 0;
    if (ready() || state_ == State::connecting) {
        failed(servers_.current(), connection_.error());
    }
    const bool was_ready = std::exchange(was_ready_, false);
    if (state_ != State::closed) {
        try_again();
    }
    if (was_ready) {
        handler_.on_lost();
    }
}

void RedisLink::failed(const RedisAddress& server, std::string_view why) noexcept {
    begin_round_if_stable();
    log_failure(server, why);
    if (sentinel_ == nullptr) {
        servers_.next();
    } else if (state_ == State::connecting) {
        sentinel_->pass_over();  // it may be cut off from the others
    }
}

void RedisLink::begin_round_if_stable() noexcept {
    if (was_ready_ && ngx_current_msec - ready_at_ >= kStableMs) {
        attempts_left_ = round();
        backoff_ms_ = kLeastBackoffMs;
    }
}

// An error once per outage; what leads to it, or to another server, is a notice.
void RedisLink::log_failure(const RedisAddress& server, std::string_view why) noexcept {
    if (outage_) {
        return;
    }
    failure_logged_ = true;
    const ngx_uint_t level = attempts_left_ > 0 ? NGX_LOG_NOTICE : NGX_LOG_ERR;
    ngx_log_error(level, ngx_cycle->log, 0, "llm: redis: %*s (%s port %ui)", why.size(), why.data(),
                  server.host.c_str(), ngx_uint_t{server.port});
}

void RedisLink::try_again() noexcept {
    if (attempts_left_ > 0) {
        try_server();
        return;
    }
    state_ = State::waiting;
    attempts_left_ = round();
    const ngx_msec_t half = backoff_ms_ / 2;
    timer_.cancel();
    timer_.arm(half + static_cast<ngx_msec_t>(ngx_random()) % (half + 1));
    backoff_ms_ = std::min(backoff_ms_ * 2, kMostBackoffMs);
    if (!std::exchange(outage_, true)) {
        handler_.on_outage();
    }
}

void RedisLink::begin_outage(std::string_view why) noexcept {
    if (!outage_) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "llm: redis: %*s", why.size(), why.data());
        failure_logged_ = true;
        outage_ = true;
        handler_.on_outage();
    }
}

void RedisLink::timer_fired() noexcept {
    if (state_ == State::waiting) {
        try_server();
    } else if (state_ == State::connecting) {
        drop("no connection in time");
    } else if (ready()) {
        sentinel_->ask();
    }
}

void RedisLink::close() noexcept {
    state_ = State::closed;
    timer_.cancel();
    if (sentinel_ != nullptr) {
        sentinel_->close();
    }
    connection_.close();
}

void RedisLink::poll(int max_ms) noexcept {
    if (state_ == State::asking) {
        sentinel_->poll(max_ms);
    } else {
        connection_.poll(max_ms);
    }
    timer_.fire_if_due();
}

}  // namespace io
