#pragma once

// The pure core of the shared-memory ledger: counters and holds in one flat region of memory that
// worker processes share. The region holds indexes only, no addresses, so it may be mapped anywhere
// and survives reloads. Not a lock: every call but format and attach wants the caller to hold one
// that all users of the region share. Nothing here allocates, throws or logs.
//
// Two uses. The book is the ledger (Backing::none); or the true ledger is elsewhere, and the book
// is what the node knows of it, judges by it while the true one cannot be asked, and keeps what
// that one is still to be told, so that it outlives the worker that should have told it:
//  - a request that the true ledger was asked about ends under its id (Backing::by_id): one record
//    until it is told;
//  - what requests use that it never heard of is summed up for each counter (Backing::debts), so
//    that an outage may last.
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
    uint64_t number = 0;  // by which a true ledger elsewhere knows it
};

enum class Backing : uint8_t { none, by_id, debts };

struct BookCounts {
    uint32_t counters = 0;
    uint32_t counter_capacity = 0;
    uint32_t holds = 0;
    uint32_t hold_capacity = 0;
    uint32_t untold = 0;  // holds and counters that a true ledger elsewhere has to hear of
};

// Names a notice.
struct NoticeRef {
    llm::RequestId id;
    uint32_t place = 0;  // of its record
    bool debt = false;
    bool first = true;  // nothing else of this id is on its way
};

// What the true ledger is to be told, once per id: in the windows of at_ms, `actual` takes the
// place of `held` if it holds the id, and else is added. Told again until it is known to have
// heard.
struct Notice : NoticeRef {
    struct Part {
        std::array<char, kMaxCounterName> name;
        uint8_t name_size;
        Unit unit;
        Window window;
        int64_t held;
        int64_t actual;  // of a debt: negative, if it is a correction
    };

    uint64_t worker = 0;  // Owner::number of who reserved
    int64_t at_ms = 0;
    Epoch epoch = kNoEpochs;  // money is charged in this one only
    size_t size = 0;
    std::array<Part, kMaxClaims> parts;
};

// A process-local handle; copies refer to the same region, which must outlive them.
class Book {
  public:
    static constexpr int64_t kDefaultHoldTtl = 600'000;
    static constexpr int64_t kClockStep = 60'000;
    static constexpr int64_t kTellAgain = 10'000;

    // Lays out an empty book: a quarter of `bytes` for holds (704 bytes each), the rest for
    // counters (320 each), plus 8 of index for each. Nothing if that is less than one hold and
    // kMaxClaims counters.
    static std::optional<Book> format(void* memory, size_t bytes,
                                      int64_t hold_ttl_ms = kDefaultHoldTtl) noexcept;
    // A region that format() laid out, at most `bytes` large, by code of the same layout; else
    // nothing.
    static std::optional<Book> attach(void* memory, size_t bytes) noexcept;

    // For holds made or renewed from now on; a hold never waits longer than this from now.
    void set_hold_ttl(int64_t hold_ttl_ms) noexcept;

    // Whether what is admitted from now on belongs to an epoch: the last one heard of.
    void set_epochs(bool has_epochs) noexcept;

    // Admits all claims and holds them until settle or for the hold ttl, or changes nothing. An id
    // that is held already is admitted again and adds nothing. unavailable: too many claims, no
    // room for another hold, a new counter is needed and no idle one was found to make room, or how
    // this id ended is still to be told.
    // Claims on the same counter add up, and their sum must fit each one's limit.
    // Backing::debts: what is held, and at the end the difference, become debts.
    Decision reserve(const llm::RequestId& id, Owner owner, std::span<const Claim> claims,
                     int64_t now_ms, Backing backing = Backing::none) noexcept;

    // The true ledger is going to be asked; whatever becomes of it will be told by id. False, and
    // nothing changes: no room.
    bool ask(const llm::RequestId& id, Owner owner, std::span<const Claim> claims,
             int64_t now_ms) noexcept;
    // Its answer: what it knows of the counters, and its epoch, are taken over, unless something
    // later was within the last kTellAgain; on top stay debts. Parallel slots are the node's own.
    // Admitted: held; denied: forgotten.
    void heard(const llm::RequestId& id, const Decision& decision, int64_t now_ms) noexcept;
    // It does not answer: judged here. A denied request stays asked, for settle.
    Decision judge_asked(const llm::RequestId& id, std::span<const Claim> claims,
                         int64_t now_ms) noexcept;

    // The next thing to tell the true ledger; a debt as `fresh`, unless it was on its way before.
    // Not again for kTellAgain.
    std::optional<Notice> next_notice(const llm::RequestId& fresh, int64_t now_ms) noexcept;
    void told(const NoticeRef& notice) noexcept;
    // Whether it has heard is not known: may be told again at once.
    void untold(const NoticeRef& notice) noexcept;

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

    // The state that a reserve of this claim would find.
    CounterState peek(const Claim& claim, int64_t now_ms) noexcept;

    BookCounts counts() const noexcept;

  private:
    class Update;
    using Picked = std::array<uint32_t, kMaxClaims>;

    explicit Book(BookHeader* header) noexcept;

    int64_t tick(int64_t now_ms) noexcept;
    void rebuild() noexcept;
    void rebuild_counters() noexcept;
    void rebuild_holds() noexcept;
    void recount_hold(uint32_t index) noexcept;

    uint32_t& counter_bucket(const std::array<uint64_t, 2>& hash) const noexcept;
    uint32_t find_counter(const Claim& claim) const noexcept;
    uint32_t pick_counter(const Claim& claim, int64_t now) noexcept;
    bool reclaim_counter(int64_t now) noexcept;
    bool pick(std::span<const Claim> claims, int64_t now, Picked& picked) noexcept;
    void unpick(std::span<const uint32_t> picked) noexcept;

    uint32_t& hold_bucket(const llm::RequestId& id) const noexcept;
    uint32_t find_hold(const llm::RequestId& id) const noexcept;
    uint32_t add_hold(const llm::RequestId& id, Owner owner, std::span<const Claim> claims,
                      const Picked& picked, int64_t now, Backing backing) noexcept;
    void count_hold(Hold& hold) noexcept;
    void end_hold(uint32_t index, bool as_held, const Actual& actual) noexcept;
    void replace_amounts(const Hold& hold) noexcept;
    void free_hold(uint32_t index) noexcept;
    void lapse_hold(uint32_t index) noexcept;
    size_t lapse_due(int64_t now, size_t max_n) noexcept;
    void set_deadline(uint32_t index, int64_t deadline_ms) noexcept;

    void hear_epoch(const Decision& decision) noexcept;
    void owe(uint32_t counter, int64_t amount, const Hold& hold) noexcept;
    void drop_debt(uint32_t counter) noexcept;
    void list_debt(uint32_t counter) noexcept;
    void unlist_debt(uint32_t counter) noexcept;
    uint32_t due_end(int64_t now) noexcept;
    uint32_t due_debt(const llm::RequestId& fresh, int64_t now) noexcept;
    Notice notice_of_end(uint32_t index) noexcept;
    Notice notice_of_debt(uint32_t index, const llm::RequestId& fresh) const noexcept;
    bool is_ended(const NoticeRef& notice) const noexcept;

    Decision admitted_before(const Hold& hold, std::span<const Claim> claims,
                             int64_t now) const noexcept;
    CounterState state_of(const Claim& claim, int64_t now) const noexcept;
    CounterState state_of(const Counter& counter, int64_t now, int64_t limit,
                          int64_t wanted) const noexcept;
    Decision judge(std::span<const Claim> claims, const Picked& picked, int64_t now) const noexcept;
    void set_states(Decision& decision, std::span<const Claim> claims, const Picked& picked,
                    int64_t now) const noexcept;

    BookHeader* header_;
    uint32_t* counter_buckets_;
    uint32_t* hold_buckets_;
    Counter* counters_;
    Hold* holds_;
};

}  // namespace ledger
