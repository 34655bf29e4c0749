#pragma once

// What Book keeps in its region, in this order: the header, the buckets of counters and of holds
// (indexes, kNil: empty), padding to a cache line, the counters, the holds. The records are the
// truth; every list and count besides can be made anew from them.

#include <type_traits>

#include "ledger/book.hpp"
#include "ledger/counter.hpp"

namespace ledger {

inline constexpr uint64_t kMagic = 0x6b6f6f622d6d6c6cULL;  // "llm-book"
inline constexpr uint32_t kLayoutVersion = 1;
inline constexpr uint32_t kNil = UINT32_MAX;
inline constexpr size_t kLine = 64;

struct alignas(kLine) BookHeader {
    uint64_t magic;  // written last
    uint32_t version;
    uint32_t busy;  // a call is at work here, or died at it
    uint64_t bytes;
    uint32_t counter_capacity, counter_bucket_count;
    uint32_t hold_capacity, hold_bucket_count;
    int64_t clock_ms;  // the latest time seen
    int64_t hold_ttl_ms;
    uint32_t free_counter, counters;
    uint32_t hand;  // of the search for idle counters
    uint32_t free_hold, holds;
    uint32_t oldest, newest;  // ends of the holds' list by deadline
};

struct HoldEntry {
    int64_t amount;
    int64_t period;  // of the counter, when it was held
    uint32_t counter;
};

struct alignas(kLine) Hold {
    llm::RequestId id;
    int64_t deadline_ms;
    uint32_t next;          // in the hash chain or the free list
    uint32_t older, newer;  // neighbours in the list by deadline
    uint32_t size;
    Owner owner;
    bool live;
    std::array<HoldEntry, kMaxClaims> entries;

    std::span<HoldEntry> claims() noexcept { return {entries.data(), size}; }
};

static_assert(sizeof(BookHeader) == 128 && sizeof(Counter) == 192 && sizeof(Hold) == 640,
              "a changed layout wants a new kLayoutVersion");
static_assert(std::is_trivially_copyable_v<Counter> && std::is_trivially_copyable_v<Hold>);

}  // namespace ledger
