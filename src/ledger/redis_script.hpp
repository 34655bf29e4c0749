#pragma once

// The Redis side of the ledger's rules: one Lua script, which is atomic, and its arguments.
//
// Keys begin with one prefix that carries a hash tag (default "llm:{l}:"), because a script may
// only touch keys of one cluster slot. Numbers are packed as little-endian doubles.
//   <prefix><counter name>
//     fixed, calendar: start and end of the window (Unix ms), used, 1 if there was one before; and,
//                      once rows have brought back money, how much of `used` that is
//     sliding:         the newest slice, then used in each of the last ones, by its place
//     parallel:        when its time to live was set; per worker: its number, the lease, slots
//     taken
//   <prefix>hold:<request id>
//     per claim: its window; or the text "done" for a day after the settlement, or until the node
//     has heard of it: a settlement counts once, and a reserve that arrives after it is void
//   <prefix>epoch
//     a number, while the counters are those of the fleet: see redis_restore.hpp
//   <prefix>lease:<worker>
//     for as long as the worker renews it, its parallel slots are taken; a lease made anew begins
//     with none
//
// `used` contains what is held: a hold that nobody settles is thereby charged as held, with nothing
// left to do; only parallel slots come back, when the lease of their worker has ended and someone
// needs them. Every key but that of a counter without a window has a time to live, so Redis must
// not evict (maxmemory-policy noeviction).
//
// The clock is Redis's own (TIME), the same for all nodes. Only the bounds of calendar windows come
// from the node; a counter never goes back to an earlier window, unless the later one lies in the
// future.
// Amounts are exact up to 2^53; limits end below that (kMaxLimit), larger amounts count as the
// least that fits no limit. Redis 5 or later.

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "io/redis_command.hpp"
#include "ledger/ledger.hpp"

struct redisReply;

namespace ledger {

// The script's source and the lower-case hex SHA-1 that EVALSHA knows it by.
std::string_view redis_script() noexcept;
const std::string& redis_script_sha();

enum class RedisOp : uint8_t {
    // Admits all claims and makes the hold, or does nothing. A hold that exists is admitted again.
    reserve,
    // Ends the hold: the actual amounts take the place of the held ones. Without a hold (lost with
    // Redis's memory, or never made) they are added to the windows of `at_ms`, if those still
    // count. Once per request id.
    settle,
};

struct RedisClaim {
    std::string_view counter;
    Unit unit = Unit::nano_usd;
    Window window;
    int64_t limit_or_held = 0;  // to reserve: the limit; to settle: what was reserved
    int64_t amount = 0;         // to hold, or actual
};

struct RedisCall {
    RedisOp op = RedisOp::reserve;
    std::string_view prefix;
    llm::RequestId id;
    std::span<const RedisClaim> claims;  // at most kMaxClaims, each on a counter of its own
    uint64_t worker = 0;                 // who reserves, or reserved; below 2^53
    int64_t at_ms = 0;                   // Unix time of the admission
    int64_t hold_ttl_ms = 0;
    int64_t lease_ttl_ms = 0;
    // To reserve: there has to be an epoch, whichever. To settle: money is charged in this one
    // only; in another one its hold is given back, and rows bring what was used. Nothing: epochs do
    // not matter.
    std::optional<Epoch> epoch = std::nullopt;
};

std::string epoch_key(std::string_view prefix);

io::RedisCommand encode(const RedisCall& call);

// Each of these lives on for that long, if it is there.
io::RedisCommand renew_hold(std::string_view prefix, const llm::RequestId& id, int64_t ttl_ms);
io::RedisCommand renew_counter(std::string_view prefix, const CounterId& counter, int64_t ttl_ms);
io::RedisCommand renew_lease(std::string_view prefix, uint64_t worker, int64_t ttl_ms);

// Forgets that these requests have ended: nothing of them is on its way any more.
io::RedisCommand forget_ended(std::string_view prefix, std::span<const llm::RequestId> ids);

// Outcomes of `reserve` in Redis.
enum class RedisVerdict : uint8_t {
    denied,
    admitted,
    void_id,    // this request was settled already
    no_epoch,   // the counters have to be rebuilt first
    no_answer,  // not an answer of the script: an error reply, or something else altogether
};

// Reads the answer to `reserve` of `claims` into `decision` (outcome, held, epoch, states).
RedisVerdict decode_reserve(const redisReply& reply, std::span<const Claim> claims,
                            Decision& decision) noexcept;

}  // namespace ledger
