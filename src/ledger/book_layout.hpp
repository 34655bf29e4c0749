#pragma once

// What Book keeps in its region, in this order: the header, the buckets of counters and of holds
// (indexes, kNil: empty), padding to a cache line, the counters, the holds. The records are the
// truth; every list and count besides can be made anew from them.

#include <type_traits>

#include "ledger/book.hpp"
#include "ledger/counter.hpp"
#include "ledger/index_list.hpp"

namespace ledger {

inline constexpr uint64_t kMagic = 0x6b6f6f622d6d6c6cULL;  // "llm-book"
inline constexpr uint32_t kLayoutVersion = 3;
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
    uint32_t untold;       // holds and debts that the true ledger has to hear of
    Ends by_deadline;      // holds
    Ends ended;            // holds that are to be told by id, by the time to tell them again
    Ends waiting_debts;    // counters
    Ends debts_in_flight;  // counters, by the time to send them again
    Epoch epoch;           // of what is admitted now
    int64_t epoch_us;      // when it was so, by the true ledger's clock
};

struct HoldEntry {
    int64_t amount;
    int64_t period;  // of the counter, when it was held
    uint32_t counter;
};

struct alignas(kLine) Hold {
    enum class State : uint8_t {
        none,   // a free record
        asked,  // the true ledger is being asked: nothing is counted here
        held,
        ended,  // how it ended is still to be told
    };

    llm::RequestId id;
    int64_t deadline_ms;  // ended: when to tell it again
    int64_t at_ms;        // when it was made
    Links links;          // by deadline, or of those that have ended
    uint32_t next;        // in the hash chain or the free list
    uint32_t size;
    Owner owner;
    State state;
    Backing backing;
    bool as_held;   // ended: charged as it was held
    bool in_doubt;  // something of it may still be on its way to the true ledger
    Epoch epoch;    // that it is charged in; asked: not known yet
    Actual actual;  // ended
    std::array<HoldEntry, kMaxClaims> entries;

    std::span<HoldEntry> claims() noexcept { return {entries.data(), size}; }
    std::span<const HoldEntry> claims() const noexcept { return {entries.data(), size}; }
    bool live() const noexcept { return state != State::none; }
    // What takes the place of an entry's amount at the end.
    int64_t charged(const HoldEntry& entry, Unit unit) const noexcept {
        if (as_held) {
            return unit == Unit::parallel ? 0 : entry.amount;
        }
        return actual_amount(unit, entry.amount, actual,
                             static_cast<size_t>(&entry - entries.data()));
    }
};

static_assert(sizeof(BookHeader) == 128 && sizeof(Counter) == 320 && sizeof(Hold) == 704,
              "a changed layout wants a new kLayoutVersion");
static_assert(std::is_trivially_copyable_v<Counter> && std::is_trivially_copyable_v<Hold>);

// Marks the region busy for as long as it is being changed.
class Book::Update {
  public:
    explicit Update(Book& book) noexcept : header_(*book.header_) {
        if (header_.busy != 0) {
            book.rebuild();
        }
        header_.busy = 1;
        keep_order();
    }
    ~Update() noexcept {
        keep_order();
        header_.busy = 0;
    }
    Update(const Update&) = delete;
    Update& operator=(const Update&) = delete;

  private:
    BookHeader& header_;
};

}  // namespace ledger
