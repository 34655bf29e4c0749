#include <algorithm>
#include <cstring>
#include <utility>

#include "ledger/book_layout.hpp"

// The holds of a book: how they begin, are counted and end.

namespace ledger {

namespace {

constexpr size_t kLapsePerReserve = 4;

}  // namespace

// ---- the records

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

void Book::set_deadline(uint32_t index, int64_t deadline_ms) noexcept {
    holds_[index].deadline_ms = deadline_ms;
    push_back(header_->by_deadline, holds_, index);
}

// Takes over the picks of the claims; nothing is counted yet.
uint32_t Book::add_hold(const llm::RequestId& id, Owner owner, std::span<const Claim> claims,
                        const Picked& picked, int64_t now, Backing backing) noexcept {
    const uint32_t index = header_->free_hold;
    Hold& hold = holds_[index];
    header_->free_hold = hold.next;
    hold.id = id;
    hold.at_ms = now;
    hold.owner = owner;
    hold.backing = backing;
    hold.as_held = hold.in_doubt = false;
    hold.epoch = header_->epoch;
    hold.size = static_cast<uint32_t>(claims.size());
    for (size_t i = 0; i < claims.size(); ++i) {
        hold.entries[i] = {claims[i].amount, 0, picked[i]};
    }
    keep_order();
    hold.state = Hold::State::asked;
    hold.next = std::exchange(hold_bucket(id), index);
    set_deadline(index, now + header_->hold_ttl_ms);
    ++header_->holds;
    return index;
}

// It is held before it changes a counter: a parallel slot is never taken without a hold that gives
// it back.
void Book::count_hold(Hold& hold) noexcept {
    for (HoldEntry& entry : hold.claims()) {
        entry.period = counters_[entry.counter].period;
    }
    keep_order();
    hold.state = Hold::State::held;
    keep_order();
    for (const HoldEntry& entry : hold.claims()) {
        counters_[entry.counter].hold(entry.amount);
        if (hold.backing == Backing::debts) {
            owe(entry.counter, entry.amount, hold);
        }
    }
}

void Book::free_hold(uint32_t index) noexcept {
    Hold& hold = holds_[index];
    keep_order();
    hold.state = Hold::State::none;
    uint32_t* link = &hold_bucket(hold.id);
    while (*link != index) {
        link = &holds_[*link].next;
    }
    *link = hold.next;
    hold.next = std::exchange(header_->free_hold, index);
    --header_->holds;
    for (const HoldEntry& entry : hold.claims()) {
        --counters_[entry.counter].holds;
    }
}

// What is to be told by id has ended before its counters change: it is told in any case.
void Book::end_hold(uint32_t index, bool as_held, const Actual& actual) noexcept {
    Hold& hold = holds_[index];
    const bool counted = hold.state == Hold::State::held;
    unlink(header_->by_deadline, holds_, index);
    hold.as_held = as_held && counted;
    hold.actual = actual;
    if (hold.backing != Backing::by_id) {
        replace_amounts(hold);
        free_hold(index);
        return;
    }
    hold.in_doubt |= !counted;
    hold.deadline_ms = header_->clock_ms;
    keep_order();
    hold.state = Hold::State::ended;
    keep_order();
    push_front(header_->ended, holds_, index);
    ++header_->untold;
    if (counted) {
        replace_amounts(hold);
    }
}

void Book::replace_amounts(const Hold& hold) noexcept {
    for (const HoldEntry& entry : hold.claims()) {
        Counter& counter = counters_[entry.counter];
        const int64_t charged = hold.charged(entry, counter.unit);
        if (hold.backing == Backing::debts && counter.is_current(entry.period)) {
            owe(entry.counter, charged - entry.amount, hold);
        }
        counter.replace(entry.period, entry.amount, charged);
    }
}

void Book::lapse_hold(uint32_t index) noexcept {
    end_hold(index, true, {0, 0, false});
}

size_t Book::lapse_due(int64_t now, size_t max_n) noexcept {
    size_t lapsed = 0;
    for (size_t n = 0; n < max_n && header_->by_deadline.first != kNil; ++n) {
        const uint32_t index = header_->by_deadline.first;
        const int64_t latest = now + header_->hold_ttl_ms;
        if (holds_[index].deadline_ms > latest) {  // the clock or the ttl has been set back
            unlink(header_->by_deadline, holds_, index);
            set_deadline(index, latest);
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
                       int64_t now_ms, Backing backing) noexcept {
    Update update(*this);
    const int64_t now = tick(now_ms);
    lapse_due(now, kLapsePerReserve);
    if (claims.size() > kMaxClaims) {
        return {};
    }
    if (const uint32_t index = find_hold(id); index != kNil) {
        const bool held = holds_[index].state == Hold::State::held;
        return held ? admitted_before(holds_[index], claims, now) : Decision{};
    }
    Picked picked;
    if (header_->free_hold == kNil || !pick(claims, now, picked)) {
        return {};
    }
    Decision decision = judge(claims, picked, now);
    decision.epoch = header_->epoch;
    if (decision.outcome != Outcome::admitted) {
        unpick({picked.data(), claims.size()});
        return decision;
    }
    count_hold(holds_[add_hold(id, owner, claims, picked, now, backing)]);
    set_states(decision, claims, picked, now);
    return decision;
}

bool Book::ask(const llm::RequestId& id, Owner owner, std::span<const Claim> claims,
               int64_t now_ms) noexcept {
    Update update(*this);
    const int64_t now = tick(now_ms);
    lapse_due(now, kLapsePerReserve);
    Picked picked;
    if (claims.size() > kMaxClaims || find_hold(id) != kNil || header_->free_hold == kNil ||
        !pick(claims, now, picked)) {
        return false;
    }
    add_hold(id, owner, claims, picked, now, Backing::by_id);
    return true;
}

void Book::heard(const llm::RequestId& id, const Decision& decision, int64_t now_ms) noexcept {
    Update update(*this);
    const int64_t now = tick(now_ms);
    hear_epoch(decision);
    const uint32_t index = find_hold(id);
    if (index == kNil || holds_[index].state != Hold::State::asked) {
        return;
    }
    Hold& hold = holds_[index];
    hold.epoch = decision.epoch;
    for (size_t i = 0; i < hold.size; ++i) {
        Counter& counter = counters_[hold.entries[i].counter];
        counter.roll(now);
        counter.observe(decision.states[i], decision.decided_us, now);
        hold.entries[i].period = counter.period;
    }
    if (decision.outcome != Outcome::admitted) {
        unlink(header_->by_deadline, holds_, index);
        free_hold(index);
        return;
    }
    keep_order();
    hold.state = Hold::State::held;
    keep_order();
    for (const HoldEntry& entry : hold.claims()) {
        if (counters_[entry.counter].unit == Unit::parallel) {
            counters_[entry.counter].hold(entry.amount);
        }
    }
}

Decision Book::judge_asked(const llm::RequestId& id, std::span<const Claim> claims,
                           int64_t now_ms) noexcept {
    Update update(*this);
    const int64_t now = tick(now_ms);
    const uint32_t index = find_hold(id);
    if (index == kNil || holds_[index].state != Hold::State::asked ||
        claims.size() != holds_[index].size) {
        return {};
    }
    Hold& hold = holds_[index];
    Picked picked;
    for (size_t i = 0; i < claims.size(); ++i) {
        picked[i] = hold.entries[i].counter;
        counters_[picked[i]].roll(now);
    }
    Decision decision = judge(claims, picked, now);
    hold.in_doubt = true;
    decision.epoch = hold.epoch = header_->epoch;
    if (decision.outcome == Outcome::admitted) {
        count_hold(hold);
        set_states(decision, claims, picked, now);
    }
    return decision;
}

void Book::set_states(Decision& decision, std::span<const Claim> claims, const Picked& picked,
                      int64_t now) const noexcept {
    for (size_t i = 0; i < claims.size(); ++i) {
        decision.states[i] = state_of(counters_[picked[i]], now, claims[i].limit, 0);
    }
}

Decision Book::admitted_before(const Hold& hold, std::span<const Claim> claims,
                               int64_t now) const noexcept {
    Decision decision;
    decision.outcome = Outcome::admitted;
    decision.held = true;
    decision.epoch = hold.epoch;
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
    if (index == kNil || holds_[index].state == Hold::State::ended) {
        return false;
    }
    end_hold(index, false, actual);
    return true;
}

bool Book::renew(const llm::RequestId& id, int64_t now_ms) noexcept {
    Update update(*this);
    const int64_t now = tick(now_ms);
    const uint32_t index = find_hold(id);
    if (index == kNil || holds_[index].state == Hold::State::ended) {
        return false;
    }
    unlink(header_->by_deadline, holds_, index);
    set_deadline(index, now + header_->hold_ttl_ms);
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
        const bool runs = hold.state == Hold::State::asked || hold.state == Hold::State::held;
        if (runs && hold.owner.slot == live.slot && hold.owner.pid != live.pid) {
            lapse_hold(i);
            ++lapsed;
        }
    }
    return lapsed;
}

}  // namespace ledger
