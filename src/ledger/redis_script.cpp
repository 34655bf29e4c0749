#include "ledger/redis_script.hpp"

#include <algorithm>
#include <cstring>

#include "ledger/limit_rule.hpp"
#include "ledger/redis_number.hpp"
#include "ledger/window.hpp"

namespace ledger {

namespace {

// As the script numbers them.
enum class Kind : uint8_t { fixed = 1, calendar, endless, sliding, parallel };

// Packed doubles, five per claim.
class Numbers {
  public:
    Numbers& add(int64_t number) noexcept {
        const auto bytes = packed(number);
        std::memcpy(bytes_.data() + size_, bytes.data(), bytes.size());
        size_ += bytes.size();
        return *this;
    }
    Numbers& add(Kind kind, int64_t a, int64_t b) noexcept {
        return add(static_cast<int64_t>(kind)).add(a).add(b);
    }
    std::string_view bytes() const noexcept { return {bytes_.data(), size_}; }

  private:
    std::array<char, 5 * sizeof(double) * kMaxClaims> bytes_;
    size_t size_ = 0;
};

// More than fits any limit is as good as the least of it, and exact.
int64_t exact(int64_t amount) noexcept {
    return std::clamp(amount, -kMaxLimit - 1, kMaxLimit + 1);
}

void add_window(Numbers& numbers, const RedisClaim& claim, int64_t at_ms) {
    if (claim.unit == Unit::parallel) {
        numbers.add(Kind::parallel, 0, 0);
        return;
    }
    const int64_t length = claim.window.length_ms;
    switch (claim.window.kind) {
        case WindowKind::none:
            numbers.add(Kind::endless, 0, 0);
            return;
        case WindowKind::fixed:
            numbers.add(Kind::fixed, length, 0);
            return;
        case WindowKind::sliding:
            numbers.add(Kind::sliding, slice_length(length), length);
            return;
        case WindowKind::day:
        case WindowKind::week:
        case WindowKind::month: {
            const Period period = period_at(claim.window, at_ms, at_ms);
            numbers.add(Kind::calendar, period.start_ms, period.end_ms);
            return;
        }
    }
}

std::string hold_key(std::string_view prefix, const llm::RequestId& id) {
    return std::string(prefix).append("hold:").append(llm::to_string(id));
}

std::string lease_key(std::string_view prefix, uint64_t worker) {
    return std::string(prefix).append("lease:").append(std::to_string(worker));
}

bool is_period(const Claim& claim) noexcept {
    return claim.unit != Unit::parallel && claim.window.kind != WindowKind::sliding;
}

// A letter for each claim: of money, or not.
std::string money_marks(std::span<const RedisClaim> claims) {
    std::string marks;
    for (const RedisClaim& claim : claims) {
        marks.push_back(claim.unit == Unit::nano_usd ? 'm' : '-');
    }
    return marks;
}

io::RedisCommand renewal(const std::string& key, int64_t ttl_ms) {
    return io::RedisCommand(3).add("PEXPIRE").add(key).add(ttl_ms);
}

}  // namespace

std::string epoch_key(std::string_view prefix) {
    return std::string(prefix).append("epoch");
}

io::RedisCommand encode(const RedisCall& call) {
    const size_t claims = call.claims.size();
    const bool reserves = call.op == RedisOp::reserve;
    Numbers numbers;
    for (const RedisClaim& claim : call.claims) {
        add_window(numbers, claim, call.at_ms);
        numbers.add(exact(claim.limit_or_held)).add(exact(claim.amount));
    }

    io::RedisCommand command(3 + 3 + claims + 6 + (call.epoch ? 2 : 0));
    command.add("EVALSHA").add(redis_script_sha()).add(static_cast<int64_t>(claims + 3));
    command.add(hold_key(call.prefix, call.id)).add(lease_key(call.prefix, call.worker));
    command.add(epoch_key(call.prefix));
    std::string key;
    for (const RedisClaim& claim : call.claims) {
        command.add(key.assign(call.prefix).append(claim.counter));
    }
    command.add(reserves ? "reserve" : "settle").add(call.hold_ttl_ms).add(call.lease_ttl_ms);
    command.add(static_cast<int64_t>(call.worker)).add(call.at_ms).add(numbers.bytes());
    if (call.epoch) {
        command.add(static_cast<int64_t>(*call.epoch)).add(money_marks(call.claims));
    }
    return command;
}

io::RedisCommand renew_hold(std::string_view prefix, const llm::RequestId& id, int64_t ttl_ms) {
    return renewal(hold_key(prefix, id), ttl_ms);
}

io::RedisCommand renew_counter(std::string_view prefix, const CounterId& counter, int64_t ttl_ms) {
    return renewal(std::string(prefix).append(counter.name), ttl_ms);
}

io::RedisCommand renew_lease(std::string_view prefix, uint64_t worker, int64_t ttl_ms) {
    return renewal(lease_key(prefix, worker), ttl_ms);
}

io::RedisCommand forget_ended(std::string_view prefix, std::span<const llm::RequestId> ids) {
    io::RedisCommand command(1 + ids.size());
    command.add("DEL");
    for (const llm::RequestId& id : ids) {
        command.add(hold_key(prefix, id));
    }
    return command;
}

RedisVerdict decode_reserve(const redisReply& reply, std::span<const Claim> claims,
                            Decision& decision) noexcept {
    constexpr size_t kHead = 5;
    constexpr size_t kEach = 3;
    const size_t n = claims.size();
    decision = {};
    if (reply.type != REDIS_REPLY_STRING || reply.len < sizeof(double)) {
        return RedisVerdict::no_answer;
    }
    const int64_t verdict = integer_at(reply, 0);
    if (verdict == 2) {
        return RedisVerdict::void_id;
    }
    if (verdict == 3) {
        return RedisVerdict::no_epoch;
    }
    if (n > kMaxClaims || reply.len != sizeof(double) * (kHead + kEach * n)) {
        return RedisVerdict::no_answer;
    }
    decision.decided_us = integer_at(reply, 3);
    decision.epoch = static_cast<Epoch>(integer_at(reply, 4));
    for (size_t i = 0; i < n; ++i) {
        const size_t at = kHead + kEach * i;
        decision.states[i].used = integer_at(reply, at);
        decision.states[i].reset_ms = integer_at(reply, at + 1);
        decision.states[i].start_ms = is_period(claims[i]) ? integer_at(reply, at + 2) : 0;
    }
    if (verdict == 0) {
        decision.outcome = Outcome::denied;
        decision.denied_claim = static_cast<size_t>(integer_at(reply, 1));
        if (decision.denied_claim >= n) {
            return RedisVerdict::no_answer;
        }
        decision.states[decision.denied_claim].retry_ms = integer_at(reply, 2);
        return RedisVerdict::denied;
    }
    decision.outcome = Outcome::admitted;
    decision.held = true;
    return RedisVerdict::admitted;
}

}  // namespace ledger
