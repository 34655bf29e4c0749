#pragma once

// The pure core of the shared-memory ledger: counters and holds in one flat region of memory that
// worker processes share. The region holds indexes only, no addresses, so it may be mapped anywhere
// and survives reloads. Not a lock: every call but format and attach wants the caller to hold one
// that all users of the region share. Nothing here allocates, throws or logs.
//
// Bounds. All calls take O(claims) plus a bounded number of due holds and reclaimed counters; only
// lapse_owner, and the first call after a process died inside one, walk the whole region.
//
// Time. now_ms is Unix time; clocks of workers differ by milliseconds, so the book goes by the
// latest time it has seen. A clock that is behind by more than kClockStep was set back: then the
// book follows, windows that lie in its future are moved to the present with what was used, holds
// get new deadlines.
//
// A process killed inside a call leaves the region marked busy. The next caller rebuilds every
// list, the counts of holds and the parallel values from the records themselves, and gives all
// holds a new deadline. What the dead process was changing is then, per counter, either done or not
// done; a hold that it was settling stays and lapses: no amount is lost, doubled or given back
// twice.

#include <cstddef>

#include "ledger/ledger.hpp"

namespace ledger {

struct BookHeader;
struct Counter;
struct Hold;

// The process that answers for a hold: its worker slot (stable over a respawn) and its pid.
struct Owner {
    int32_t slot = 0;
    int32_t pid = 0;
};

struct BookCounts {
    uint32_t counters = 0;
    uint32_t counter_capacity = 0;
    uint32_t holds = 0;
    uint32_t hold_capacity = 0;
};

// A process-local handle; copies refer to the same region, which must outlive them.
class Book {
  public:
    static constexpr int64_t kDefaultHoldTtl = 600'000;
    static constexpr int64_t kClockStep = 60'000;

    // Lays out an empty book: a quarter of `bytes` for holds (640 bytes each), the rest for
    // counters (192 bytes each, plus 8 of index). Nothing if that is less than one hold and
    // kMaxClaims counters.
    static std::optional<Book> format(void* memory, size_t bytes,
                                      int64_t hold_ttl_ms = kDefaultHoldTtl) noexcept;
    // A region that format() laid out, at most `bytes` large, by code of the same layout; else
    // nothing.
    static std::optional<Book> attach(void* memory, size_t bytes) noexcept;

    // For holds made or renewed from now on; a hold never waits longer than this from now.
    void set_hold_ttl(int64_t hold_ttl_ms) noexcept;

    // Admits all claims and holds them until settle or for the hold ttl, or changes nothing. An id
    // that is held already is admitted again and adds nothing. unavailable: too many claims, no
    // room for another hold, or a new counter is needed and no idle one was found to make room.
    // Claims on the same counter add up, and their sum must fit each one's limit.
    Decision reserve(const llm::RequestId& id, Owner owner, std::span<const Claim> claims,
                     int64_t now_ms) noexcept;

    // False, and nothing changes: no such hold (settled or lapsed already). It needs no time: the
    // charge goes to the window of the hold, or nowhere if that is over.
    bool settle(const llm::RequestId& id, const Actual& actual) noexcept;

    // A new deadline, for a stream that is still running. False: no such hold.
    bool renew(const llm::RequestId& id, int64_t now_ms) noexcept;

    // Lapses holds whose deadline has come, at most max_n of them; returns how many. reserve does a
    // few.
    size_t lapse(int64_t now_ms, size_t max_n) noexcept;

    // Lapses what dead predecessors of the process `live` have held in its slot; returns how many.
    size_t lapse_owner(Owner live) noexcept;

    // Takes over what another ledger knows of the claim's counter: used, and when a fixed window
    // ends. Own holds stay on top. Not for parallel (ignored); dropped when there is no room for
    // the counter.
    void observe(const Claim& claim, const CounterState& truth, int64_t now_ms) noexcept;

    // The state that a reserve of this claim would find.
    CounterState peek(const Claim& claim, int64_t now_ms) noexcept;

    BookCounts counts() const noexcept;

  private:
    class Update;
    using Picked = std::array<uint32_t, kMaxClaims>;

    explicit Book(BookHeader* header) noexcept;

    int64_t tick(int64_t now_ms) noexcept;
    void rebuild() noexcept;

    uint32_t& counter_bucket(const std::array<uint64_t, 2>& hash) const noexcept;
    uint32_t find_counter(const Claim& claim) const noexcept;
    uint32_t pick_counter(const Claim& claim, int64_t now) noexcept;
    bool reclaim_counter(int64_t now) noexcept;
    bool pick(std::span<const Claim> claims, int64_t now, Picked& picked) noexcept;
    void unpick(std::span<const uint32_t> picked) noexcept;

    uint32_t& hold_bucket(const llm::RequestId& id) const noexcept;
    uint32_t find_hold(const llm::RequestId& id) const noexcept;
    void add_hold(const llm::RequestId& id, Owner owner, std::span<const Claim> claims,
                  const Picked& picked, int64_t now) noexcept;
    void free_hold(uint32_t index) noexcept;
    void lapse_hold(uint32_t index) noexcept;
    size_t lapse_due(int64_t now, size_t max_n) noexcept;
    void enqueue(uint32_t index, int64_t deadline_ms) noexcept;
    void dequeue(uint32_t index) noexcept;

    Decision admitted_before(std::span<const Claim> claims, int64_t now) const noexcept;
    CounterState state_of(const Claim& claim, int64_t now) const noexcept;
    Decision judge(std::span<const Claim> claims, const Picked& picked, int64_t now) const noexcept;

    BookHeader* header_;
    uint32_t* counter_buckets_;
    uint32_t* hold_buckets_;
    Counter* counters_;
    Hold* holds_;
};

}  // namespace ledger
