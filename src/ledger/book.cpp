#include "ledger/book.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "ledger/book_layout.hpp"

namespace ledger {

namespace {

constexpr size_t kLapsePerReserve = 4;
constexpr uint32_t kReclaimScan = 64;
constexpr size_t kHoldShare = 4;  // one in kHoldShare bytes is for holds
// Per record, its share of the buckets: the next power of two is less than twice the capacity.
constexpr size_t kIndexBytes = 2 * sizeof(uint32_t);

}  // namespace

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
    std::fill_n(counter_buckets_, header_->counter_bucket_count, kNil);
    std::fill_n(hold_buckets_, header_->hold_bucket_count, kNil);
    header_->counters = header_->holds = 0;
    header_->free_counter = header_->free_hold = header_->oldest = header_->newest = kNil;

    for (uint32_t i = header_->counter_capacity; i-- > 0;) {
        Counter& counter = counters_[i];
        if (counter.live) {
            counter.forget_holds();
        }
        uint32_t& list = counter.live ? counter_bucket(counter.hash) : header_->free_counter;
        counter.next = std::exchange(list, i);
        header_->counters += counter.live ? 1 : 0;
    }
    for (uint32_t i = header_->hold_capacity; i-- > 0;) {
        Hold& hold = holds_[i];
        uint32_t& list = hold.live ? hold_bucket(hold.id) : header_->free_hold;
        hold.next = std::exchange(list, i);
        if (!hold.live) {
            continue;
        }
        ++header_->holds;
        enqueue(i, header_->clock_ms + header_->hold_ttl_ms);
        for (const HoldEntry& entry : hold.claims()) {
            counters_[entry.counter].recount_hold(entry.period, entry.amount);
        }
    }
    keep_order();
    header_->busy = 0;
}

BookCounts Book::counts() const noexcept {
    return {header_->counters, header_->counter_capacity, header_->holds, header_->hold_capacity};
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

// ---- holds

uint32_t& Book::hold_bucket(const llm::RequestId& id) const noexcept {
    uint64_t random = 0;
    std::memcpy(&random, id.bytes.data() + 8, sizeof(random));
    // Its lowest byte carries the UUID's variant; the product's upper half depends on all bits.
    const uint64_t mixed = (random * 0x9e3779b97f4a7c15ULL) >> 32;
    return hold_buckets_[mixed & (header_->hold_bucket_count - 1)];
}

uint32_t Book::find_hold(const llm::RequestId& id) const noexcept {
    uint32_t index = hold_bucket(id);
    while (index != kNil && !(holds_[index].id == id)) {
        index = holds_[index].next;
    }
    return index;
}

void Book::enqueue(uint32_t index, int64_t deadline_ms) noexcept {
    Hold& hold = holds_[index];
    hold.deadline_ms = deadline_ms;
    hold.newer = kNil;
    hold.older = std::exchange(header_->newest, index);
    (hold.older == kNil ? header_->oldest : holds_[hold.older].newer) = index;
}

void Book::dequeue(uint32_t index) noexcept {
    const Hold& hold = holds_[index];
    (hold.older == kNil ? header_->oldest : holds_[hold.older].newer) = hold.newer;
    (hold.newer == kNil ? header_->newest : holds_[hold.newer].older) = hold.older;
}

// Takes over the picks of the claims. The record is live before it changes a counter: a parallel
// slot is never taken without a hold that gives it back.
void Book::add_hold(const llm::RequestId& id, Owner owner, std::span<const Claim> claims,
                    const Picked& picked, int64_t now) noexcept {
    const uint32_t index = header_->free_hold;
    Hold& hold = holds_[index];
    header_->free_hold = hold.next;
    hold.id = id;
    hold.owner = owner;
    hold.size = static_cast<uint32_t>(claims.size());
    for (size_t i = 0; i < claims.size(); ++i) {
        hold.entries[i] = {claims[i].amount, counters_[picked[i]].period, picked[i]};
    }
    keep_order();
    hold.live = true;
    keep_order();
    for (const HoldEntry& entry : hold.claims()) {
        counters_[entry.counter].hold(entry.amount);
    }
    hold.next = std::exchange(hold_bucket(id), index);
    enqueue(index, now + header_->hold_ttl_ms);
    ++header_->holds;
}

void Book::free_hold(uint32_t index) noexcept {
    Hold& hold = holds_[index];
    keep_order();
    hold.live = false;
    dequeue(index);
    uint32_t* link = &hold_bucket(hold.id);
    while (*link != index) {
        link = &holds_[*link].next;
    }
    *link = hold.next;
    hold.next = std::exchange(header_->free_hold, index);
    --header_->holds;
}

void Book::lapse_hold(uint32_t index) noexcept {
    for (const HoldEntry& entry : holds_[index].claims()) {
        counters_[entry.counter].lapse(entry.period, entry.amount);
    }
    free_hold(index);
}

size_t Book::lapse_due(int64_t now, size_t max_n) noexcept {
    size_t lapsed = 0;
    for (size_t n = 0; n < max_n && header_->oldest != kNil; ++n) {
        const uint32_t index = header_->oldest;
        const int64_t latest = now + header_->hold_ttl_ms;
        if (holds_[index].deadline_ms > latest) {  // the clock or the ttl has been set back
            dequeue(index);
            enqueue(index, latest);
            continue;
        }
        if (holds_[index].deadline_ms > now) {
            break;
        }
        lapse_hold(index);
        ++lapsed;
    }
    return lapsed;
}

// ---- what callers ask for

Decision Book::reserve(const llm::RequestId& id, Owner owner, std::span<const Claim> claims,
                       int64_t now_ms) noexcept {
    Update update(*this);
    const int64_t now = tick(now_ms);
    lapse_due(now, kLapsePerReserve);
    if (claims.size() > kMaxClaims) {
        return {};
    }
    if (find_hold(id) != kNil) {
        return admitted_before(claims, now);
    }
    Picked picked;
    if (header_->free_hold == kNil || !pick(claims, now, picked)) {
        return {};
    }
    Decision decision = judge(claims, picked, now);
    if (decision.outcome == Outcome::denied) {
        unpick({picked.data(), claims.size()});
        return decision;
    }
    add_hold(id, owner, claims, picked, now);
    for (size_t i = 0; i < claims.size(); ++i) {
        decision.states[i] = counters_[picked[i]].state(now, claims[i].limit, 0);
    }
    return decision;
}

Decision Book::admitted_before(std::span<const Claim> claims, int64_t now) const noexcept {
    Decision decision;
    decision.outcome = Outcome::admitted;
    decision.held = true;
    for (size_t i = 0; i < claims.size(); ++i) {
        decision.states[i] = state_of(claims[i], now);
    }
    return decision;
}

// Denied with the states as they are, or admitted with nothing held yet.
Decision Book::judge(std::span<const Claim> claims, const Picked& picked,
                     int64_t now) const noexcept {
    Decision decision;
    decision.outcome = Outcome::admitted;
    decision.held = true;
    for (size_t i = 0; i < claims.size(); ++i) {
        int64_t wanted = 0;  // of this counter by all claims, so that each one's limit stands
        for (size_t j = 0; j < claims.size(); ++j) {
            if (picked[j] == picked[i]) {
                wanted = saturating_add(wanted, claims[j].amount);
            }
        }
        decision.states[i] = counters_[picked[i]].state(now, claims[i].limit, wanted);
        if (decision.outcome == Outcome::admitted &&
            !fits(wanted, claims[i].limit, decision.states[i].used)) {
            decision.outcome = Outcome::denied;
            decision.held = false;
            decision.denied_claim = i;
        }
    }
    return decision;
}

bool Book::settle(const llm::RequestId& id, const Actual& actual) noexcept {
    Update update(*this);
    const uint32_t index = find_hold(id);
    if (index == kNil) {
        return false;
    }
    for (const HoldEntry& entry : holds_[index].claims()) {
        Counter& counter = counters_[entry.counter];
        counter.settle(entry.period, entry.amount,
                       actual_amount(counter.unit, entry.amount, actual));
    }
    free_hold(index);
    return true;
}

bool Book::renew(const llm::RequestId& id, int64_t now_ms) noexcept {
    Update update(*this);
    const int64_t now = tick(now_ms);
    const uint32_t index = find_hold(id);
    if (index == kNil) {
        return false;
    }
    dequeue(index);
    enqueue(index, now + header_->hold_ttl_ms);
    return true;
}

size_t Book::lapse(int64_t now_ms, size_t max_n) noexcept {
    Update update(*this);
    return lapse_due(tick(now_ms), max_n);
}

size_t Book::lapse_owner(Owner live) noexcept {
    Update update(*this);
    size_t lapsed = 0;
    for (uint32_t i = 0; i < header_->hold_capacity; ++i) {
        const Hold& hold = holds_[i];
        if (hold.live && hold.owner.slot == live.slot && hold.owner.pid != live.pid) {
            lapse_hold(i);
            ++lapsed;
        }
    }
    return lapsed;
}

void Book::observe(const Claim& claim, const CounterState& truth, int64_t now_ms) noexcept {
    Update update(*this);
    const int64_t now = tick(now_ms);
    const uint32_t index = claim.unit == Unit::parallel ? kNil : pick_counter(claim, now);
    if (index != kNil) {
        counters_[index].observe(truth, now);
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
    return counter.state(now, claim.limit, claim.amount);
}

}  // namespace ledger
