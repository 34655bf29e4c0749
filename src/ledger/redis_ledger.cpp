#include "ledger/redis_ledger.hpp"

#include <hiredis/hiredis.h>

#include <algorithm>

namespace ledger {

namespace {

constexpr size_t kMostInFlight = 1024;  // settlements; leaves room for reserves in the pipeline
constexpr int kMostErrors = 30;         // error replies to one settlement, a tick apart
constexpr ngx_msec_t kTickMs = 1000;
constexpr int kMostExitingTicks = 10;

constexpr Actual kNothing{0, 0, false};

bool is_error(const redisReply& reply) noexcept {
    return reply.type == REDIS_REPLY_ERROR;
}

bool script_is_missing(const redisReply& reply) noexcept {
    return is_error(reply) && std::string_view(reply.str, reply.len).starts_with("NOSCRIPT");
}

io::RedisCommand load_script_command() {
    return io::RedisCommand(3).add("SCRIPT").add("LOAD").add(redis_script());
}

}  // namespace

// One reserve on its way. It owns itself until the reply.
class RedisLedger::Reservation final : public io::RedisClient::ReplyHandler {
  public:
    Reservation(RedisLedger& ledger, const llm::RequestId& id, std::span<const Claim> claims,
                Waiter& waiter, io::RedisCommand command)
        : ledger_(ledger),
          id_(id),
          claims_(claims.begin(), claims.end()),
          waiter_(&waiter),
          command_(std::move(command)) {}

    bool send() noexcept { return ledger_.client_.submit(command_, *this); }

    void forget_waiter() noexcept { waiter_ = nullptr; }

    void on_timeout() noexcept override { fall_back(); }

    void on_reply(const redisReply* reply) noexcept override {
        if (reply != nullptr && waiter_ != nullptr && script_is_missing(*reply) && resend()) {
            return;
        }
        const std::unique_ptr<Reservation> self(this);
        Decision decision;
        const RedisVerdict verdict = reply == nullptr
                                         ? RedisVerdict::no_answer
                                         : decode_reserve(*reply, claims_.size(), decision);
        if (verdict == RedisVerdict::admitted || verdict == RedisVerdict::denied) {
            ledger_.observe(claims_, decision);
            decided(decision);
        } else {
            undecided();
        }
    }

  private:
    bool resend() noexcept {
        if (std::exchange(resent_, true)) {
            return false;
        }
        ledger_.load_script();
        return send();
    }

    void decided(const Decision& decision) noexcept {
        if (waiter_ != nullptr) {
            ledger_.stats_.denied += decision.outcome == Outcome::denied ? 1 : 0;
            answer(decision);
        } else if (decision.held && !admitted_elsewhere_) {
            ledger_.release(RedisOp::settle, id_, claims_);
        }
    }

    // Redis may have made the hold or may still do so.
    void undecided() noexcept {
        fall_back();
        if (!admitted_elsewhere_) {
            ledger_.release(RedisOp::charge, id_, claims_);
        }
    }

    void fall_back() noexcept {
        if (waiter_ == nullptr) {
            return;
        }
        const Decision decision = ledger_.fall_back(id_, claims_, *waiter_);
        admitted_elsewhere_ = decision.outcome == Outcome::admitted;
        answer(decision);
    }

    void answer(const Decision& decision) noexcept {
        Waiter* waiter = std::exchange(waiter_, nullptr);
        ledger_.waiting_.erase(waiter);
        waiter->on_decision(decision);
    }

    RedisLedger& ledger_;
    llm::RequestId id_;
    std::vector<Claim> claims_;
    Waiter* waiter_;  // nullptr: has heard, or is gone
    io::RedisCommand command_;
    bool admitted_elsewhere_ = false;  // its settlement will charge Redis, hold or no hold
    bool resent_ = false;
};

// A settle or charge until Redis has acknowledged it. In the queue, or in flight and its own owner.
class RedisLedger::Settlement final : public io::RedisClient::ReplyHandler {
  public:
    Settlement(RedisLedger& ledger, io::RedisCommand command)
        : ledger_(ledger), command_(std::move(command)) {}

    bool send() noexcept { return ledger_.client_.submit(command_, *this); }

    void on_timeout() noexcept override {}

    void on_reply(const redisReply* reply) noexcept override {
        std::unique_ptr<Settlement> self(this);
        --ledger_.in_flight_;
        if (reply == nullptr) {
            ledger_.requeue(std::move(self));
        } else if (is_error(*reply)) {
            refused(*reply, std::move(self));
        }
        ledger_.flush();
    }

  private:
    void refused(const redisReply& error, std::unique_ptr<Settlement> self) noexcept {
        if (script_is_missing(error)) {
            ledger_.load_script();
        } else {
            ledger_.paused_ = true;
        }
        if (++errors_ > kMostErrors) {
            ++ledger_.stats_.dropped;
            return;
        }
        ledger_.requeue(std::move(self));
    }

    RedisLedger& ledger_;
    io::RedisCommand command_;
    int errors_ = 0;
};

size_t RedisLedger::IdHash::operator()(const llm::RequestId& id) const noexcept {
    uint64_t random_half;  // of a UUIDv7: random but for two bits
    std::memcpy(&random_half, id.bytes.data() + 8, sizeof random_half);
    return random_half;
}

RedisLedger::RedisLedger(RedisLedgerConfig config, ShmLedger& local)
    : config_(std::move(config)),
      local_(local),
      script_load_(*this),
      renewals_(*this),
      load_command_(load_script_command()),
      tick_([](void* self) noexcept { static_cast<RedisLedger*>(self)->tick(); }, this),
      client_(config_.redis, {load_script_command()}, *this) {
    client_.connect();
}

RedisLedger::~RedisLedger() {
    for (const auto& [waiter, reservation] : waiting_) {
        reservation->forget_waiter();
    }
    client_.close();
}

std::optional<Decision> RedisLedger::reserve(const llm::RequestId& id,
                                             std::span<const Claim> claims,
                                             Waiter& waiter) noexcept {
    ++stats_.reserves;
    if (!client_.accepts()) {
        return fall_back(id, claims, waiter);
    }
    try {
        std::array<int64_t, kMaxClaims> amounts;
        std::transform(claims.begin(), claims.end(), amounts.begin(),
                       [](const Claim& claim) { return claim.amount; });
        auto reservation =
            std::make_unique<Reservation>(*this, id, claims, waiter,
                                          encode({RedisOp::reserve, config_.key_prefix, id, claims,
                                                  amounts, config_.hold_ttl_ms, io::wall_ms()}));
        const auto [place, _] = waiting_.insert_or_assign(&waiter, reservation.get());
        if (reservation->send()) {
            reservation.release();
            return std::nullopt;
        }
        waiting_.erase(place);
    } catch (const std::bad_alloc&) {
        // as if Redis were gone
    }
    return fall_back(id, claims, waiter);
}

Decision RedisLedger::fall_back(const llm::RequestId& id, std::span<const Claim> claims,
                                Waiter& waiter) noexcept {
    Decision decision;
    if (config_.on_failure == OnFailure::local) {
        decision = local_.reserve(id, claims, waiter).value_or(Decision{});
        ++stats_.fallback_local;
        stats_.denied += decision.outcome == Outcome::denied ? 1 : 0;
    } else if (config_.on_failure == OnFailure::allow) {
        decision.outcome = Outcome::admitted;
        ++stats_.fallback_allowed;
    }
    if (decision.outcome == Outcome::unavailable) {
        ++stats_.denied_unavailable;
    }
    if (decision.outcome == Outcome::admitted && !remember(id, decision.held)) {
        ++stats_.dropped;
    }
    return decision;
}

bool RedisLedger::remember(const llm::RequestId& id, bool local) noexcept {
    if (elsewhere_.size() >= config_.max_unsettled) {
        return false;
    }
    try {
        elsewhere_.insert_or_assign(id, Elsewhere{local, io::wall_ms()});
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

void RedisLedger::abandon(Waiter& waiter) noexcept {
    if (const auto found = waiting_.find(&waiter); found != waiting_.end()) {
        found->second->forget_waiter();
        waiting_.erase(found);
    }
}

void RedisLedger::settle(const llm::RequestId& id, std::span<const Claim> claims,
                         const Actual& actual) noexcept {
    RedisOp op = RedisOp::settle;
    int64_t at_ms = io::wall_ms();
    if (const auto found = elsewhere_.find(id); found != elsewhere_.end()) {
        if (found->second.local) {
            local_.settle(id, claims, actual);
        }
        op = RedisOp::charge;
        at_ms = found->second.admitted_ms;
        elsewhere_.erase(found);
    }
    try {
        enqueue(command(op, id, claims, actual, at_ms));
    } catch (const std::bad_alloc&) {
        ++stats_.dropped;
    }
}

// Gives a hold back that nobody uses. charge: it may not have been made yet, then it never will.
void RedisLedger::release(RedisOp op, const llm::RequestId& id,
                          std::span<const Claim> claims) noexcept {
    ++stats_.late_released;
    try {
        enqueue(command(op, id, claims, kNothing, io::wall_ms()));
    } catch (const std::bad_alloc&) {
        ++stats_.dropped;
    }
}

void RedisLedger::renew(const llm::RequestId& id, std::span<const Claim> claims) noexcept {
    if (const auto found = elsewhere_.find(id); found != elsewhere_.end() && found->second.local) {
        local_.renew(id, claims);
    }
    try {
        renewals_.submit(command(RedisOp::renew, id, claims, kNothing, io::wall_ms()));
    } catch (const std::bad_alloc&) {
        // the hold lapses at its old deadline
    }
}

io::RedisCommand RedisLedger::command(RedisOp op, const llm::RequestId& id,
                                      std::span<const Claim> claims, const Actual& actual,
                                      int64_t at_ms) const {
    std::array<int64_t, kMaxClaims> amounts;
    std::transform(claims.begin(), claims.end(), amounts.begin(),
                   [&actual](const Claim& claim) { return actual_amount(claim, actual); });
    return encode({op, config_.key_prefix, id, claims, amounts, config_.hold_ttl_ms, at_ms});
}

void RedisLedger::observe(std::span<const Claim> claims, const Decision& decision) noexcept {
    if (config_.on_failure == OnFailure::local) {
        local_.observe(claims, decision);
    }
}

// Replies come in order: whatever is sent after this finds the script.
void RedisLedger::load_script() noexcept {
    if (script_load_.idle()) {
        script_load_.submit(load_command_);
    }
}

void RedisLedger::Background::submit(const io::RedisCommand& command) noexcept {
    waiting_ += ledger_.client_.submit(command, *this) ? 1 : 0;
}

void RedisLedger::Background::on_reply(const redisReply* reply) noexcept {
    --waiting_;
    if (reply != nullptr && script_is_missing(*reply)) {
        ledger_.load_script();
    }
}

void RedisLedger::enqueue(io::RedisCommand command) {
    if (unsettled() >= config_.max_unsettled) {
        ++stats_.dropped;
        return;
    }
    queued_.push_back(std::make_unique<Settlement>(*this, std::move(command)));
    flush();
    if (!tick_.armed()) {
        tick_.arm(kTickMs);
    }
}

void RedisLedger::requeue(std::unique_ptr<Settlement> settlement) noexcept {
    ++stats_.settle_retries;
    try {
        queued_.push_back(std::move(settlement));
    } catch (const std::bad_alloc&) {
        ++stats_.dropped;
    }
}

void RedisLedger::flush() noexcept {
    while (!paused_ && !queued_.empty() && in_flight_ < kMostInFlight && queued_.front()->send()) {
        queued_.front().release();  // its own owner now, until the reply
        queued_.pop_front();
        ++in_flight_;
    }
    tick_.set_keeps_worker(unsettled() > 0 && exiting_ticks_ < kMostExitingTicks);
}

void RedisLedger::tick() noexcept {
    paused_ = false;
    exiting_ticks_ += ngx_exiting ? 1 : 0;
    flush();
    if (unsettled() > 0) {
        tick_.arm(kTickMs);
    }
}

void RedisLedger::drain(int64_t max_ms) noexcept {
    if (unsettled() > 0) {
        paused_ = false;
        flush();
        client_.drain(max_ms);
    }
}

}  // namespace ledger
