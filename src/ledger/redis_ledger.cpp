#include "ledger/redis_ledger.hpp"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <random>

namespace ledger {

namespace {

constexpr size_t kMostInFlight = 1024;  // settlements; leaves room for reserves in the pipeline
constexpr int kMostErrors = 30;         // error replies to one settlement, a tick apart
constexpr ngx_msec_t kTickMs = 1000;
constexpr int kMostExitingTicks = 10;
constexpr int64_t kRenewalsPerLease = 3;

constexpr Actual kNothing{0, 0, false};

bool is_error(const redisReply& reply) noexcept {
    return reply.type == REDIS_REPLY_ERROR;
}

bool script_is_missing(const redisReply& reply) noexcept {
    return is_error(reply) && std::string_view(reply.str, reply.len).starts_with("NOSCRIPT");
}

// Tells workers apart, also over restarts.
uint64_t random_worker() {
    std::random_device random;
    return (uint64_t{random()} << 32 | random()) >> 12;  // exact as a double
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
            if (decision.held) {
                ledger_.remember(id_, HeldBy::redis);
            }
            ledger_.stats_.denied += decision.outcome == Outcome::denied ? 1 : 0;
            answer(decision);
        } else if (decision.held) {
            ledger_.release(id_, claims_);
        }
    }

    // Redis may have made the hold or may still do so.
    void undecided() noexcept {
        fall_back();
        if (!admitted_elsewhere_) {
            ledger_.release(id_, claims_);
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

// A settlement until Redis has acknowledged it. In the queue, or in flight and its own owner.
class RedisLedger::Settlement final : public io::RedisClient::ReplyHandler {
  public:
    // `ordered`: behind the answer to the reserve, so that nothing of this request is still to come.
    Settlement(RedisLedger& ledger, const llm::RequestId& id, bool ordered,
               io::RedisCommand command)
        : ledger_(ledger), id_(id), ordered_(ordered), command_(std::move(command)) {}

    bool send() noexcept { return ledger_.client_.submit(command_, *this); }

    void on_timeout() noexcept override {}

    void on_reply(const redisReply* reply) noexcept override {
        std::unique_ptr<Settlement> self(this);
        --ledger_.in_flight_;
        if (reply == nullptr) {
            ordered_ = false;  // it may have been read, and be acted upon after the next one
            ledger_.requeue(std::move(self));
        } else if (is_error(*reply)) {
            refused(*reply, std::move(self));
        } else if (ordered_) {
            ledger_.forget(id_);
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
    llm::RequestId id_;
    bool ordered_;
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
      worker_(random_worker()),
      script_load_(*this),
      housekeeping_(*this),
      load_command_(load_script_command()),
      tick_([](void* self) noexcept { static_cast<RedisLedger*>(self)->tick(); }, this),
      lease_([](void* self) noexcept { static_cast<RedisLedger*>(self)->renew_lease(); }, this),
      client_(config_.redis, {load_script_command()}, *this) {
    client_.connect();
    renew_lease();
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
        auto reservation = std::make_unique<Reservation>(
            *this, id, claims, waiter,
            command(RedisOp::reserve, id, claims, amounts, io::wall_ms()));
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
    if (decision.outcome == Outcome::admitted) {
        remember(id, decision.held ? HeldBy::local : HeldBy::nobody);
    }
    return decision;
}

void RedisLedger::remember(const llm::RequestId& id, HeldBy by) noexcept {
    try {
        admitted_.insert_or_assign(id, Admitted{by, io::wall_ms()});
    } catch (const std::bad_alloc&) {
        // its settlement takes it for one that Redis admitted just now
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
    Admitted admitted{HeldBy::redis, io::wall_ms()};
    if (const auto found = admitted_.find(id); found != admitted_.end()) {
        admitted = found->second;
        admitted_.erase(found);
    }
    if (admitted.by == HeldBy::local) {
        local_.settle(id, claims, actual);
    }
    enqueue(id, admitted.by == HeldBy::redis, claims, actual, admitted.at_ms);
}

// Gives a hold back that nobody uses; one that was not made yet never will be.
void RedisLedger::release(const llm::RequestId& id, std::span<const Claim> claims) noexcept {
    ++stats_.late_released;
    enqueue(id, false, claims, kNothing, io::wall_ms());
}

void RedisLedger::renew(const llm::RequestId& id, std::span<const Claim> claims) noexcept {
    local_.renew(id, claims);
    try {
        housekeeping_.submit(renew_hold(config_.key_prefix, id, config_.hold_ttl_ms));
        for (const Claim& claim : claims) {
            if (claim.unit == Unit::parallel) {
                housekeeping_.submit(
                    renew_counter(config_.key_prefix, *claim.counter, config_.hold_ttl_ms));
            }
        }
    } catch (const std::bad_alloc&) {
        // they end in their time
    }
}

void RedisLedger::renew_lease() noexcept {
    try {
        housekeeping_.submit(ledger::renew_lease(config_.key_prefix, worker_, config_.lease_ttl_ms));
    } catch (const std::bad_alloc&) {
        // the next renewal is in time too
    }
    lease_.arm(static_cast<ngx_msec_t>(config_.lease_ttl_ms / kRenewalsPerLease));
}

// What Redis remembers of an ended request would go by itself, but an hour of them is much.
void RedisLedger::forget(const llm::RequestId& ended) noexcept {
    ended_[n_ended_++] = ended;
    if (n_ended_ == ended_.size()) {
        forget_ended_requests();
    }
}

void RedisLedger::forget_ended_requests() noexcept {
    try {
        if (n_ended_ > 0) {
            housekeeping_.submit(forget_ended(config_.key_prefix, {ended_.data(), n_ended_}));
        }
    } catch (const std::bad_alloc&) {
        // they go by themselves
    }
    n_ended_ = 0;
}

io::RedisCommand RedisLedger::command(RedisOp op, const llm::RequestId& id,
                                      std::span<const Claim> claims,
                                      std::span<const int64_t> amounts, int64_t at_ms) const {
    return encode({op, config_.key_prefix, id, claims, amounts, worker_, at_ms,
                   config_.hold_ttl_ms, config_.lease_ttl_ms});
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

void RedisLedger::enqueue(const llm::RequestId& id, bool ordered, std::span<const Claim> claims,
                          const Actual& actual, int64_t admitted_ms) noexcept {
    if (unsettled() >= config_.max_unsettled) {
        ++stats_.dropped;
        return;
    }
    try {
        std::array<int64_t, kMaxClaims> amounts;
        std::transform(claims.begin(), claims.end(), amounts.begin(),
                       [&actual](const Claim& claim) { return actual_amount(claim, actual); });
        queued_.push_back(std::make_unique<Settlement>(
            *this, id, ordered, command(RedisOp::settle, id, claims, amounts, admitted_ms)));
    } catch (const std::bad_alloc&) {
        ++stats_.dropped;
        return;
    }
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
    forget_ended_requests();
    flush();
    if (unsettled() > 0 || n_ended_ > 0) {
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
