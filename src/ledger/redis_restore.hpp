#pragma once

// How money that Redis has lost comes back to it. Spend rows are the truth: each was charged in one
// epoch (ledger.hpp), and says in which. In Redis's present epoch
//
//   used(counter) = what was settled in this epoch + what rows of other epochs say
//
// The second part is a sum that only grows while its window lasts, and a counter remembers how much
// of it it has taken. So one operation brings it up to date: after Redis was emptied, and later
// when further rows have come. It may be done twice, and by two at once: each amount counts once.
//
// Redis without an epoch admits nothing (RedisVerdict::no_epoch). The epoch begins when every
// counter has its sum. Keys, besides those of redis_script.hpp:
//   <prefix>restorer
//     for as long as it renews it, the one who brings the sums; spares others the work
//
// An epoch must not be deleted but together with all counters.

#include <optional>
#include <span>
#include <string_view>

#include "io/redis_command.hpp"
#include "ledger/ledger.hpp"

struct redisReply;

namespace ledger {

// What rows of other epochs come to.
struct RestoredSum {
    std::string_view counter;
    int64_t start_ms = 0;  // of the window
    int64_t end_ms = 0;
    int64_t nano_usd = 0;
};

struct RestoreCall {
    std::string_view prefix;
    uint64_t owner = 0;   // who restores
    int64_t lock_ms = 0;  // for how long nobody else does
    Epoch epoch = 0;      // that the sums leave out; 0: there is none
    Epoch next = 0;       // begins, if there is none; 0: none begins
    int64_t keep_ms = 0;  // a counter lives for so long after its window
    std::span<const RestoredSum> sums = {};
};

// Answered with what is so afterwards. Nothing is written if somebody else restores, or if the
// epoch is another one.
io::RedisCommand encode(const RestoreCall& call);

struct RestoreReply {
    bool leads = false;  // the caller is the one who restores
    Epoch epoch = 0;     // 0: none
    int64_t now_ms = 0;  // by Redis's clock
};

// Nothing: not an answer of the script.
std::optional<RestoreReply> decode_restore(const redisReply& reply) noexcept;

Epoch random_epoch();

}  // namespace ledger
