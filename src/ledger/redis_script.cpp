#include "ledger/redis_script.hpp"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "ledger/limit_rule.hpp"
#include "ledger/window.hpp"

namespace ledger {

namespace {

// As the script numbers them.
enum class Kind : uint8_t { fixed = 1, calendar, endless, sliding, parallel };

// Packed doubles, five per claim.
class Numbers {
  public:
    Numbers& add(int64_t number) noexcept {
        auto bits = std::bit_cast<uint64_t>(static_cast<double>(number));
        if constexpr (std::endian::native == std::endian::big) {
            bits = __builtin_bswap64(bits);
        }
        std::memcpy(bytes_.data() + size_, &bits, sizeof(bits));
        size_ += sizeof(bits);
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

double number_at(const redisReply& reply, size_t index) noexcept {
    uint64_t bits = 0;
    for (size_t i = 8; i-- > 0;) {
        bits = bits << 8 | static_cast<unsigned char>(reply.str[8 * index + i]);
    }
    return std::bit_cast<double>(bits);
}

int64_t integer_at(const redisReply& reply, size_t index) noexcept {
    constexpr double kMost = 0x1p62;
    return static_cast<int64_t>(std::clamp(number_at(reply, index), -kMost, kMost));
}

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

io::RedisCommand renewal(const std::string& key, int64_t ttl_ms) {
    return io::RedisCommand(3).add("PEXPIRE").add(key).add(ttl_ms);
}

}  // namespace

io::RedisCommand encode(const RedisCall& call) {
    const size_t claims = call.claims.size();
    const bool reserves = call.op == RedisOp::reserve;
    Numbers numbers;
    for (const RedisClaim& claim : call.claims) {
        add_window(numbers, claim, call.at_ms);
        numbers.add(exact(claim.limit_or_held)).add(exact(claim.amount));
    }

    io::RedisCommand command(3 + 2 + claims + 6);
    command.add("EVALSHA").add(redis_script_sha()).add(static_cast<int64_t>(claims + 2));
    command.add(hold_key(call.prefix, call.id)).add(lease_key(call.prefix, call.worker));
    std::string key;
    for (const RedisClaim& claim : call.claims) {
        command.add(key.assign(call.prefix).append(claim.counter));
    }
    command.add(reserves ? "reserve" : "settle").add(call.hold_ttl_ms).add(call.lease_ttl_ms);
    command.add(static_cast<int64_t>(call.worker)).add(call.at_ms).add(numbers.bytes());
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

RedisVerdict decode_reserve(const redisReply& reply, size_t claims, Decision& decision) noexcept {
    constexpr size_t kHead = 4;
    decision = {};
    if (reply.type != REDIS_REPLY_STRING || reply.len < sizeof(double)) {
        return RedisVerdict::no_answer;
    }
    const int64_t verdict = integer_at(reply, 0);
    if (verdict == 2) {
        return RedisVerdict::void_id;
    }
    if (claims > kMaxClaims || reply.len != sizeof(double) * (kHead + 2 * claims)) {
        return RedisVerdict::no_answer;
    }
    decision.decided_us = integer_at(reply, 3);
    for (size_t i = 0; i < claims; ++i) {
        decision.states[i].used = integer_at(reply, kHead + 2 * i);
        decision.states[i].reset_ms = integer_at(reply, kHead + 2 * i + 1);
    }
    if (verdict == 0) {
        decision.outcome = Outcome::denied;
        decision.denied_claim = static_cast<size_t>(integer_at(reply, 1));
        if (decision.denied_claim >= claims) {
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
