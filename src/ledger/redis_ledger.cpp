#include "ledger/redis_ledger.hpp"

#include <hiredis/hiredis.h>

#include <algorithm>

#include "ledger/window.hpp"

namespace ledger {

namespace {

constexpr size_t kMostInFlight = 1024;  // notices; leaves room for reserves in the pipeline
constexpr ngx_msec_t kTickMs = 1000;
constexpr int64_t kRenewalsPerLease = 3;

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

// Of a Cluster, only the node that has our slot answers it.
io::RedisCommand probe_command(std::string_view key_prefix) {
    return io::RedisCommand(2).add("GET").add(key_prefix);
}

// The same claims, which nothing exceeds.
class Unlimited {
  public:
    explicit Unlimited(std::span<const Claim> claims) noexcept
        : size_(std::min(claims.size(), kMaxClaims)) {
        std::copy_n(claims.begin(), size_, claims_.begin());
        for (Claim& claim : claims_) {
            claim.limit = kNever;
        }
    }
    operator std::span<const Claim>() const noexcept { return {claims_.data(), size_}; }

  private:
    size_t size_;
    std::array<Claim, kMaxClaims> claims_;
};

}  // namespace

// One reserve on its way. It owns itself until the reply.
class RedisLedger::Reservation final : public io::RedisClient::ReplyHandler {
  public:
    Reservation(RedisLedger& ledger, const llm::RequestId& id, std::span<const Claim> claims,
                Waiter& waiter)
        : ledger_(ledger),
          id_(id),
          claims_(claims.begin(), claims.end()),
          waiter_(&waiter),
          command_(ledger.reserve_command(id, claims)) {}

    bool send() noexcept { return ledger_.client_.submit(command_, *this); }

    void abandon() noexcept { waiter_ = nullptr; }

    void on_timeout() noexcept override {
        if (waiter_ != nullptr) {
            fall_back();
        }
    }

    void on_reply(const redisReply* reply) noexcept override {
        if (reply != nullptr && waiter_ != nullptr && script_is_missing(*reply) && resend()) {
            return;
        }
        const std::unique_ptr<Reservation> self(this);
        if (!answered_) {
            take(reply);
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

    void take(const redisReply* reply) noexcept {
        Decision decision;
        const RedisVerdict verdict =
            reply == nullptr ? RedisVerdict::no_answer : decode_reserve(*reply, claims_, decision);
        const bool decided = verdict == RedisVerdict::admitted || verdict == RedisVerdict::denied;
        if (decided) {
            ledger_.local_.heard(id_, decision);
        }
        if (waiter_ == nullptr) {
            ledger_.release(id_);
        } else if (decided) {
            answer(decision);
        } else {
            fall_back();
        }
    }

    void fall_back() noexcept { answer(ledger_.fall_back(id_, claims_, true)); }

    void answer(const Decision& decision) noexcept {
        answered_ = true;
        ledger_.stats_.denied += decision.outcome == Outcome::denied ? 1 : 0;
        Waiter* waiter = std::exchange(waiter_, nullptr);
        ledger_.waiting_.erase(waiter);
        waiter->on_decision(decision);
    }

    RedisLedger& ledger_;
    llm::RequestId id_;
    std::vector<Claim> claims_;
    Waiter* waiter_;  // nullptr: has been answered, or is gone
    io::RedisCommand command_;
    bool answered_ = false;
    bool resent_ = false;
};

// A notice on its way. It owns itself until the reply.
class RedisLedger::Telling final : public io::RedisClient::ReplyHandler {
  public:
    Telling(RedisLedger& ledger, const NoticeRef& notice) noexcept
        : ledger_(ledger), notice_(notice) {}

    void on_timeout() noexcept override {}

    void on_reply(const redisReply* reply) noexcept override {
        const std::unique_ptr<Telling> self(this);
        --ledger_.in_flight_;
        if (reply == nullptr) {
            ledger_.local_.untold(notice_);
        } else if (script_is_missing(*reply)) {
            ledger_.load_script();
            ledger_.local_.untold(notice_);
        } else if (!is_error(*reply)) {
            ledger_.local_.told(notice_);
            if (notice_.first) {
                ledger_.forget(notice_.id);
            }
        }
        ledger_.tell();
    }

  private:
    RedisLedger& ledger_;
    NoticeRef notice_;
};

RedisLedger::RedisLedger(RedisLedgerConfig config, ShmLedger& local)
    : config_(std::move(config)),
      local_(local),
      script_load_(*this),
      housekeeping_(*this),
      load_command_(load_script_command()),
      tick_([](void* self) noexcept { static_cast<RedisLedger*>(self)->tick(); }, this),
      lease_([](void* self) noexcept { static_cast<RedisLedger*>(self)->renew_lease(); }, this),
      client_(config_.redis, {load_script_command(), probe_command(config_.key_prefix)}, *this) {
    client_.connect();
    tick_.arm(kTickMs);
    renew_lease();
}

RedisLedger::~RedisLedger() {
    for (const auto& [waiter, reservation] : waiting_) {
        reservation->abandon();
    }
    client_.close();
}

std::optional<Decision> RedisLedger::reserve(const llm::RequestId& id,
                                             std::span<const Claim> claims,
                                             Waiter& waiter) noexcept {
    ++stats_.reserves;
    if (!client_.accepts()) {
        return fall_back(id, claims, false);
    }
    if (!local_.ask(id, claims)) {
        ++stats_.denied_unavailable;
        return Decision{};
    }
    try {
        auto reservation = std::make_unique<Reservation>(*this, id, claims, waiter);
        const auto [place, _] = waiting_.insert_or_assign(&waiter, reservation.get());
        if (reservation->send()) {
            reservation.release();
            return std::nullopt;
        }
        waiting_.erase(place);
    } catch (const std::bad_alloc&) {
        // as if Redis were gone
    }
    return fall_back(id, claims, true);
}

// `asked`: Redis may hold it, now or later.
Decision RedisLedger::fall_back(const llm::RequestId& id, std::span<const Claim> claims,
                                bool asked) noexcept {
    const auto decide = [&](std::span<const Claim> wanted) {
        return asked ? local_.judge_asked(id, wanted) : local_.reserve_owed(id, wanted);
    };
    Decision decision;
    if (config_.on_failure == OnFailure::local) {
        decision = decide(claims);
        ++stats_.fallback_local;
    } else if (config_.on_failure == OnFailure::allow) {
        decision = decide(Unlimited(claims));
        decision.outcome = Outcome::admitted;  // also without room for it
        ++stats_.fallback_allowed;
    }
    stats_.denied_unavailable += decision.outcome == Outcome::unavailable ? 1 : 0;
    if (decision.outcome != Outcome::admitted && asked) {
        release(id);
    }
    return decision;
}

void RedisLedger::abandon(Waiter& waiter) noexcept {
    if (const auto found = waiting_.find(&waiter); found != waiting_.end()) {
        found->second->abandon();
        waiting_.erase(found);
    }
}

void RedisLedger::settle(const llm::RequestId& id, std::span<const Claim>,
                         const Actual& actual) noexcept {
    local_.settle(id, actual);
    tell();
}

// Gives a hold back that nobody uses; one that Redis has not made yet never will be.
void RedisLedger::release(const llm::RequestId& id) noexcept {
    local_.settle(id, kNothing);
    tell();
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
        housekeeping_.submit(
            ledger::renew_lease(config_.key_prefix, local_.number(), config_.lease_ttl_ms));
    } catch (const std::bad_alloc&) {
        // the next renewal is in time too
    }
    lease_.arm(static_cast<ngx_msec_t>(config_.lease_ttl_ms / kRenewalsPerLease));
}

// What Redis remembers of an ended request would go by itself, but a day of them is much.
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

io::RedisCommand RedisLedger::command(RedisCall call) const {
    call.prefix = config_.key_prefix;
    call.hold_ttl_ms = config_.hold_ttl_ms;
    call.lease_ttl_ms = config_.lease_ttl_ms;
    return encode(call);
}

io::RedisCommand RedisLedger::reserve_command(const llm::RequestId& id,
                                              std::span<const Claim> claims) const {
    std::array<RedisClaim, kMaxClaims> each;
    std::transform(claims.begin(), claims.end(), each.begin(), [](const Claim& c) {
        return RedisClaim{c.counter->name, c.unit, c.window, c.limit, c.amount};
    });
    RedisCall call{RedisOp::reserve, {}, id, {each.data(), claims.size()}};
    if (config_.has_epochs) {
        call.epoch = kNoEpochs;
    }
    call.worker = local_.number();
    call.at_ms = io::wall_ms();
    return command(call);
}

io::RedisCommand RedisLedger::settle_command(const Notice& notice) const {
    std::array<RedisClaim, kMaxClaims> each;
    std::transform(notice.parts.begin(), notice.parts.begin() + notice.size, each.begin(),
                   [](const Notice::Part& p) {
                       const std::string_view name(p.name.data(), p.name_size);
                       return RedisClaim{name, p.unit, p.window, p.held, p.actual};
                   });
    RedisCall call{RedisOp::settle, {}, notice.id, {each.data(), notice.size}};
    if (notice.epoch != kNoEpochs) {
        call.epoch = notice.epoch;
    }
    call.worker = notice.worker;
    call.at_ms = notice.at_ms;
    return command(call);
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

void RedisLedger::tell() noexcept {
    while (client_.ready() && in_flight_ < kMostInFlight) {
        const auto notice = local_.next_notice(fresh_id());
        if (!notice) {
            return;
        }
        if (!tell(*notice)) {
            local_.untold(*notice);
            return;
        }
    }
}

bool RedisLedger::tell(const Notice& notice) noexcept {
    try {
        auto telling = std::make_unique<Telling>(*this, notice);
        if (!client_.submit(settle_command(notice), *telling)) {
            return false;
        }
        telling.release();
    } catch (const std::bad_alloc&) {
        return false;
    }
    ++in_flight_;
    stats_.told_again += notice.first ? 0 : 1;
    return true;
}

void RedisLedger::tick() noexcept {
    forget_ended_requests();
    tell();
    tick_.arm(kTickMs);
}

llm::RequestId RedisLedger::fresh_id() noexcept {
    const std::array<uint64_t, 2> words{random_(), random_()};
    std::array<uint8_t, 10> bytes;
    std::memcpy(bytes.data(), words.data(), bytes.size());
    return llm::make_request_id(io::wall_ms(), bytes);
}

void RedisLedger::drain(int64_t max_ms) noexcept {
    tell();
    client_.drain(max_ms);
}

}  // namespace ledger
