#pragma once

// The Redis side of the ledger's rules: one Lua script, which is atomic, and its arguments.
//
// Keys begin with one prefix that carries a hash tag (default "llm:{l}:"), because a script may
// only touch keys of one cluster slot.
//   <prefix><counter name>
//     fixed, calendar: hash, s and e: start and end of the window (Unix ms), u: used,
//                      r: 1 if there was a window before
//     sliding:         hash, slice number: used in it
//     parallel:        sorted set, request id "/" claim index: deadline
//   <prefix>hold:<request id>
//     "<deadline> <window> <amount> <window> <amount> …", a pair per claim; or "done"
//
// `used` contains what is held: a hold that lapses (its deadline passes) is thereby charged as
// held, with nothing left to do; only parallel slots are given back, when their counter is next
// looked at. A hold outlives its deadline by an hour, so that a settlement can tell a lapsed hold
// from none. Every key but that of a counter without a window has a time to live, so Redis must
// not evict (maxmemory-policy noeviction).
//
// The clock is Redis's own (TIME), the same for all nodes. Only the bounds of calendar windows come
// from the node; a counter never goes back to an earlier window.
// Lua computes in doubles: amounts are exact up to 9e15. Redis 5 or later.

#include <array>
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
    // Replaces the held amounts by the actual ones and ends the hold. Without a hold: nothing.
    settle,
    // settle, or without a hold adds the amounts to the windows of `at_ms`. Once per request id,
    // remembered for an hour: a reserve of this id that arrives later is void.
    charge,
    // Moves the deadline of a hold.
    renew,
};

struct RedisCall {
    RedisOp op = RedisOp::reserve;
    std::string_view prefix;
    llm::RequestId id;
    std::span<const Claim> claims;
    std::span<const int64_t> amounts;  // per claim: to hold (reserve) or actual (settle, charge)
    int64_t hold_ttl_ms = 0;
    // Unix time of the admission: its calendar windows are meant, and charge goes to its windows.
    int64_t at_ms = 0;
};

io::RedisCommand encode(const RedisCall& call);

// Outcomes of `reserve` in Redis.
enum class RedisVerdict : uint8_t {
    denied,
    admitted,
    void_id,   // this request was charged already
    no_answer  // not an answer of the script: an error reply, or something else altogether
};

// Reads the answer to `reserve` of `claims` claims into `decision` (outcome, held, states).
RedisVerdict decode_reserve(const redisReply& reply, size_t claims, Decision& decision) noexcept;

}  // namespace ledger
