#include "ledger/book.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "ledger/book_layout.hpp"

namespace ledger {

namespace {

constexpr uint32_t kReclaimScan = 64;
constexpr size_t kHoldShare = 4;  // one in kHoldShare bytes is for holds
// Per record, its share of the buckets: the next power of two is less than twice the capacity.
constexpr size_t kIndexBytes = 2 * sizeof(uint32_t);

}  // namespace

// ---- the region

Book::Book(BookHeader* header) noexcept
    : header_(header),
      counter_buckets_(reinterpret_cast<uint32_t*>(header + 1)),
      hold_buckets_(counter_buckets_ + header->counter_bucket_count) {
    const auto records = reinterpret_cast<uintptr_t>(hold_buckets_ + header->hold_bucket_count);
    counters_ = reinterpret_cast<Counter*>((records + kLine - 1) & ~uintptr_t{kLine - 1});
    holds_ = reinterpret_cast<Hold*>(counters_ + header->counter_capacity);
}

std::optional<Book> Book::format(void* memory, size_t bytes, int64_t hold_ttl_ms) noexcept {
    constexpr size_t kOverhead = sizeof(BookHeader) + kLine;
    if (std::align(kLine, kOverhead, memory, bytes) == nullptr) {
        return std::nullopt;
    }
    const size_t for_holds = (bytes - kOverhead) / kHoldShare;
    const size_t for_counters = bytes - kOverhead - for_holds;
    constexpr size_t kMaxRecords = size_t{1} << 30;
    const size_t hold_count = std::min(for_holds / (sizeof(Hold) + kIndexBytes), kMaxRecords);
    const size_t counter_count =
        std::min(for_counters / (sizeof(Counter) + kIndexBytes), kMaxRecords);
    if (hold_count < 1 || counter_count < kMaxClaims) {
        return std::nullopt;
    }

    std::memset(memory, 0, bytes);
    auto* header = static_cast<BookHeader*>(memory);
    header->version = kLayoutVersion;
    header->bytes = bytes;
    header->counter_capacity = static_cast<uint32_t>(counter_count);
    header->counter_bucket_count = std::bit_ceil(header->counter_capacity);
    header->hold_capacity = static_cast<uint32_t>(hold_count);
    header->hold_bucket_count = std::bit_ceil(header->hold_capacity);
    header->hold_ttl_ms = hold_ttl_ms;
    Book book(header);
    book.rebuild();
    keep_order();
    header->magic = kMagic;
    return book;
}

std::optional<Book> Book::attach(void* memory, size_t bytes) noexcept {
    if (std::align(kLine, sizeof(BookHeader), memory, bytes) == nullptr) {
        return std::nullopt;
    }
    auto* header = static_cast<BookHeader*>(memory);
    if (header->magic != kMagic || header->version != kLayoutVersion || header->bytes > bytes) {
        return std::nullopt;
    }
    return Book(header);
}

void Book::set_hold_ttl(int64_t hold_ttl_ms) noexcept {
    header_->hold_ttl_ms = hold_ttl_ms;
}

void Book::set_epochs(bool has_epochs) noexcept {
    Update update(*this);
    if (has_epochs != (header_->epoch != kNoEpochs)) {
        header_->epoch = has_epochs ? kEpochUnknown : kNoEpochs;
        header_->epoch_us = 0;
    }
}

int64_t Book::tick(int64_t now_ms) noexcept {
    int64_t& clock = header_->clock_ms;
    if (now_ms > clock || clock - now_ms > kClockStep) {
        clock = now_ms;
    }
    return clock;
}

void Book::rebuild() noexcept {
    header_->busy = 1;
    keep_order();
    header_->untold = 0;
    rebuild_counters();
    rebuild_holds();
    keep_order();
    header_->busy = 0;
}

void Book::rebuild_counters() noexcept {
    std::fill_n(counter_buckets_, header_->counter_bucket_count, kNil);
    header_->counters = 0;
    header_->free_counter = kNil;
    header_->waiting_debts = header_->debts_in_flight = {};
    for (uint32_t i = header_->counter_capacity; i-- > 0;) {
        Counter& counter = counters_[i];
        uint32_t& list = counter.live ? counter_bucket(counter.hash) : header_->free_counter;
        counter.next = std::exchange(list, i);
        if (!counter.live) {
            continue;
        }
        ++header_->counters;
        counter.holds = 0;
        if (counter.unit == Unit::parallel) {
            counter.used[0] = 0;
        }
        counter.listed = Counter::Listed::no;
        list_debt(i);
    }
}

void Book::rebuild_holds() noexcept {
    std::fill_n(hold_buckets_, header_->hold_bucket_count, kNil);
    header_->holds = 0;
    header_->free_hold = kNil;
    header_->by_deadline = header_->ended = {};
    for (uint32_t i = header_->hold_capacity; i-- > 0;) {
        Hold& hold = holds_[i];
        uint32_t& list = hold.live() ? hold_bucket(hold.id) : header_->free_hold;
        hold.next = std::exchange(list, i);
        if (hold.live()) {
            recount_hold(i);
        }
    }
}

void Book::recount_hold(uint32_t index) noexcept {
    Hold& hold = holds_[index];
    ++header_->holds;
    for (const HoldEntry& entry : hold.claims()) {
        Counter& counter = counters_[entry.counter];
        ++counter.holds;
        if (counter.unit == Unit::parallel && hold.state == Hold::State::held) {
            counter.used[0] += entry.amount;
        }
    }
    if (hold.state == Hold::State::ended) {
        hold.deadline_ms = header_->clock_ms;
        push_back(header_->ended, holds_, index);
        ++header_->untold;
    } else {
        set_deadline(index, header_->clock_ms + header_->hold_ttl_ms);
    }
}

BookCounts Book::counts() const noexcept {
    return {header_->counters, header_->counter_capacity, header_->holds, header_->hold_capacity,
            header_->untold};
}

// ---- counters

uint32_t& Book::counter_bucket(const std::array<uint64_t, 2>& hash) const noexcept {
    return counter_buckets_[hash[0] & (header_->counter_bucket_count - 1)];
}

uint32_t Book::find_counter(const Claim& claim) const noexcept {
    uint32_t index = counter_bucket(claim.counter->hash);
    while (index != kNil && !counters_[index].is(*claim.counter, claim.unit, claim.window)) {
        index = counters_[index].next;
    }
    return index;
}

// The claim's counter, rolled to `now` and made if need be; kNil: no room.
uint32_t Book::pick_counter(const Claim& claim, int64_t now) noexcept {
    if (const uint32_t found = find_counter(claim); found != kNil) {
        counters_[found].roll(now);
        return found;
    }
    if (header_->free_counter == kNil && !reclaim_counter(now)) {
        return kNil;
    }
    const uint32_t index = header_->free_counter;
    Counter& counter = counters_[index];
    header_->free_counter = counter.next;
    counter.open(*claim.counter, claim.unit, claim.window, now);
    keep_order();
    counter.live = true;
    counter.next = std::exchange(counter_bucket(counter.hash), index);
    ++header_->counters;
    return index;
}

// Frees one idle counter, if the next kReclaimScan under the clock hand have one.
bool Book::reclaim_counter(int64_t now) noexcept {
    for (uint32_t n = std::min(kReclaimScan, header_->counter_capacity); n > 0; --n) {
        const uint32_t index = header_->hand;
        header_->hand = index + 1 < header_->counter_capacity ? index + 1 : 0;
        Counter& counter = counters_[index];
        if (!counter.live || !counter.idle(now)) {
            continue;
        }
        uint32_t* link = &counter_bucket(counter.hash);
        while (*link != index) {
            link = &counters_[*link].next;
        }
        *link = counter.next;
        counter.live = false;
        counter.next = std::exchange(header_->free_counter, index);
        --header_->counters;
        return true;
    }
    return false;
}

// A picked counter counts as held, so that picking the next one does not reclaim it.
bool Book::pick(std::span<const Claim> claims, int64_t now, Picked& picked) noexcept {
    for (size_t i = 0; i < claims.size(); ++i) {
        picked[i] = pick_counter(claims[i], now);
        if (picked[i] == kNil) {
            unpick({picked.data(), i});
            return false;
        }
        ++counters_[picked[i]].holds;
    }
    return true;
}

void Book::unpick(std::span<const uint32_t> picked) noexcept {
    for (const uint32_t index : picked) {
        --counters_[index].holds;
    }
}

CounterState Book::peek(const Claim& claim, int64_t now_ms) noexcept {
    Update update(*this);
    return state_of(claim, tick(now_ms));
}

CounterState Book::state_of(const Claim& claim, int64_t now) const noexcept {
    Counter counter;
    if (const uint32_t index = find_counter(claim); index != kNil) {
        counter = counters_[index];
        counter.roll(now);
    } else {
        counter.open(*claim.counter, claim.unit, claim.window, now);
    }
    return state_of(counter, now, claim.limit, claim.amount);
}

// The start is in another cache line than the rest, and of use with epochs only.
CounterState Book::state_of(const Counter& counter, int64_t now, int64_t limit,
                            int64_t wanted) const noexcept {
    CounterState state = counter.state(now, limit, wanted);
    if (header_->epoch != kNoEpochs) {
        state.start_ms = counter.start_ms();
    }
    return state;
}

}  // namespace ledger
