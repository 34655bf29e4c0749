#pragma once

// One counter of the shared-memory ledger, and its arithmetic. A plain struct that lives in shared
// memory; only Book touches it, under the caller's lock.
//
// Every function may be cut short by a kill: each amount changes in one store, and the store that
// makes a window current is the last one of its roll, so that a roll cut short is simply done
// again.

#include <algorithm>
#include <atomic>

#include "ledger/index_list.hpp"
#include "ledger/window.hpp"

namespace ledger {

// Keeps the compiler from moving stores across. A killed process loses no store that it has
// executed, so the order of the program is all that a successor needs.
inline void keep_order() noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

inline int64_t saturating_add(int64_t a, int64_t b) noexcept {
    int64_t sum = 0;
    return __builtin_add_overflow(a, b, &sum) ? kNever : sum;
}

// limit ≥ 0, used ≥ 0. A sum of amounts that has saturated fits nowhere.
inline bool fits(int64_t wanted, int64_t limit, int64_t used) noexcept {
    return wanted < kNever && wanted <= limit - used;
}

// Answers to several workers overtake each other by less; else the clock there is another one.
inline constexpr int64_t kReorderedUs = 10'000'000;

// What the true ledger of a counter is still to be told. Sums since the counter was opened, so that
// each step is one store: paid … sent is on its way under `id`, sent … total waits.
struct Debt {
    int64_t total, sent, paid;
    int64_t at_ms;       // the last admission that it comes from
    int64_t sent_at_ms;  // at_ms of what is on its way
    int64_t resend_ms;   // from then on it may be sent once more
    llm::RequestId id;

    bool in_flight() const noexcept { return sent != paid; }
    bool waits() const noexcept { return total != sent; }
};

struct alignas(64) Counter {
    enum class Listed : uint8_t { no, waiting, in_flight };

    std::array<uint64_t, 2> hash;
    int64_t length_ms;  // calendar: the time zone's number
    int64_t end_ms;     // of the window; kNever for none and sliding
    int64_t period;     // sliding: the newest slice; else how often the window has rolled
    uint32_t next;      // in the hash chain or the free list
    uint32_t holds;     // claims that refer to this counter: it must stay
    Unit unit;
    WindowKind kind;
    bool live;
    Listed listed;  // among the book's debts
    uint8_t name_size;
    // Settled + held: by slice if sliding. Else all of it in the first, and in others what only
    // such counters have: a record of 5 cache lines is spread over all of a cache, one of 6 is not.
    Slots used;
    int64_t observed_us;  // when the truth was so that it was last set to
    Links links;          // in the list of debts
    Debt debt;
    std::array<char, kMaxCounterName> name;

    Window window() const noexcept {
        return calendar() ? Window{kind, 0, length_ms} : Window{kind, length_ms};
    }
    bool calendar() const noexcept {
        return kind == WindowKind::day || kind == WindowKind::week || kind == WindowKind::month;
    }
    bool sliding() const noexcept { return kind == WindowKind::sliding; }

    // Of the window, as CounterState says it, which state() leaves out.
    int64_t start_ms() const noexcept { return sliding() ? 0 : used[kStart]; }
    // Rows bring back what is charged to it.
    bool has_epochs() const noexcept { return unit == Unit::nano_usd && !sliding(); }
    // That all of the debt belongs to. Only with has_epochs().
    Epoch debt_epoch() const noexcept { return static_cast<Epoch>(used[kDebtEpoch]); }
    void set_debt_epoch(Epoch epoch) noexcept { used[kDebtEpoch] = static_cast<int64_t>(epoch); }

    bool is(const CounterId& id, Unit u, const Window& w) const noexcept {
        return hash == id.hash && unit == u && window() == w;
    }

    // The name is not longer than kMaxCounterName.
    void open(const CounterId& id, Unit u, const Window& w, int64_t now_ms) noexcept;
    // To the window that holds now_ms. Everything below expects this to have been done.
    void roll(int64_t now_ms) noexcept;

    int64_t value(int64_t now_ms) const noexcept;
    // `wanted`: the amount that retry_ms is about.
    CounterState state(int64_t now_ms, int64_t limit, int64_t wanted) const noexcept;

    // Without roll: what the counter holds of use to anyone at now_ms.
    bool idle(int64_t now_ms) const noexcept {
        return holds == 0 && listed == Listed::no && (now_ms >= end_ms || value(now_ms) == 0);
    }

    void hold(int64_t amount) noexcept;
    // `actual` takes the place of what was held in `of_period`. Without roll.
    void replace(int64_t of_period, int64_t amount, int64_t actual) noexcept;
    // `truth` comes from elsewhere: used, and when a fixed window ends, at at_us by the clock
    // there. On top stays the debt. Not for parallel slots, nor when later news came before.
    void observe(const CounterState& truth, int64_t at_us, int64_t now_ms) noexcept;
    bool is_current(int64_t of_period) const noexcept { return sliding() || of_period == period; }

    // Of an admission at at_ms, in the window of now_ms or an earlier one. Without parallel.
    void owe(int64_t amount, int64_t at_ms, int64_t now_ms) noexcept;
    // Of the present window.
    int64_t unpaid(int64_t now_ms) const noexcept {
        return is_over(debt.at_ms, now_ms) ? 0 : debt.total - debt.paid;
    }

  private:
    static constexpr size_t kStart = 1;
    static constexpr size_t kDebtEpoch = 2;

    void enter(const Period& current) noexcept;
    int64_t next_start(const Period& current) const noexcept;
    // nullptr: that window is over.
    int64_t* cell(int64_t of_period) noexcept;
    int64_t longest_ms() const noexcept;
    // The window that held at_ms is over.
    bool is_over(int64_t at_ms, int64_t now_ms) const noexcept;
    int64_t retry_ms(int64_t now_ms, int64_t used, int64_t limit, int64_t wanted) const noexcept;
};

inline void Counter::open(const CounterId& id, Unit u, const Window& w, int64_t now_ms) noexcept {
    hash = id.hash;
    unit = u;
    kind = w.kind;
    length_ms = calendar() ? w.zone : w.length_ms;
    used = {};
    enter(period_at(w, now_ms, now_ms));
    period = sliding() ? slice_of(length_ms, now_ms) : 0;
    holds = 0;
    listed = Listed::no;
    observed_us = 0;
    debt = {};
    name_size = static_cast<uint8_t>(std::min(id.name.size(), name.size()));
    std::copy_n(id.name.begin(), name_size, name.begin());
}

inline void Counter::enter(const Period& current) noexcept {
    if (!sliding()) {
        used[kStart] = next_start(current);
        keep_order();
    }
    end_ms = current.end_ms;
}

// Fixed windows may have begun by another clock: it goes on in steps of their length, to the start
// that is nearest.
inline int64_t Counter::next_start(const Period& current) const noexcept {
    const int64_t start = used[kStart];
    if (kind != WindowKind::fixed || start == 0) {
        return current.start_ms;
    }
    const int64_t ahead = current.start_ms - start + length_ms / 2;
    return start + ahead / length_ms * length_ms;
}

inline int64_t Counter::longest_ms() const noexcept {
    constexpr int64_t kHour = 3'600'000;
    constexpr int64_t kDay = 24 * kHour;
    const int64_t end_of_summer = length_ms != 0 ? 2 * kHour : 0;  // the most that clocks go back
    switch (kind) {
        case WindowKind::fixed:
            return length_ms;
        case WindowKind::day:
            return kDay + end_of_summer;
        case WindowKind::week:
            return 7 * kDay + end_of_summer;
        case WindowKind::month:
            return 31 * kDay + end_of_summer;
        case WindowKind::none:
        case WindowKind::sliding:
            break;
    }
    return kNever;
}

inline void Counter::roll(int64_t now_ms) noexcept {
    if (sliding()) {
        if (const int64_t slice = slice_of(length_ms, now_ms); slice != period) {
            advance(used, period, slice);
        }
        return;
    }
    if (now_ms >= end_ms) {
        ++period;
        keep_order();
        used[0] = 0;
        keep_order();
        enter(period_at(window(), end_ms - length_ms, now_ms));
        return;
    }
    // An end farther away than any such window is long was set by a clock that was wrong: what was
    // used stays, the window is the one of today.
    if (end_ms - now_ms > longest_ms()) {
        used[kStart] = 0;
        enter(period_at(window(), now_ms, now_ms));
    }
}

inline int64_t Counter::value(int64_t now_ms) const noexcept {
    return sliding() ? sliding_value(used, period, length_ms, now_ms) : used[0];
}

inline CounterState Counter::state(int64_t now_ms, int64_t limit, int64_t wanted) const noexcept {
    CounterState state;
    state.used = value(now_ms);
    state.retry_ms = retry_ms(now_ms, state.used, limit, wanted);
    if (sliding()) {
        state.reset_ms = sliding_reset(used, period, length_ms, now_ms);
    } else if (end_ms != kNever) {
        state.reset_ms = end_ms - now_ms;
    }
    return state;
}

inline int64_t Counter::retry_ms(int64_t now_ms, int64_t used_now, int64_t limit,
                                 int64_t wanted) const noexcept {
    if (fits(wanted, limit, used_now)) {
        return 0;
    }
    if (!fits(wanted, limit, 0)) {
        return -1;
    }
    if (sliding()) {
        return sliding_retry(used, period, length_ms, now_ms, limit, wanted);
    }
    if (unit == Unit::parallel) {
        return 0;
    }
    return end_ms == kNever ? -1 : end_ms - now_ms;
}

inline int64_t* Counter::cell(int64_t of_period) noexcept {
    if (!sliding()) {
        return of_period == period ? &used[0] : nullptr;
    }
    const bool kept = of_period <= period && period - of_period <= kSlices;
    return kept ? &used[slot_of(of_period)] : nullptr;
}

inline void Counter::hold(int64_t amount) noexcept {
    int64_t& now_used = *cell(period);
    now_used = saturating_add(now_used, amount);
}

inline void Counter::replace(int64_t of_period, int64_t amount, int64_t actual) noexcept {
    if (int64_t* charged = cell(of_period); charged != nullptr && amount != actual) {
        *charged = saturating_add(std::max<int64_t>(*charged - amount, 0), actual);
    }
}

inline void Counter::owe(int64_t amount, int64_t at_ms, int64_t now_ms) noexcept {
    if (debt.waits() && is_over(debt.at_ms, now_ms)) {
        debt.total = debt.sent;  // that window is over for the true ledger too
    }
    debt.at_ms = std::max(debt.at_ms, at_ms);
    debt.total = saturating_add(debt.total, amount);
}

inline bool Counter::is_over(int64_t at_ms, int64_t now_ms) const noexcept {
    switch (kind) {
        case WindowKind::none:
            return false;
        case WindowKind::sliding:
            return slice_gone_ms(length_ms, slice_of(length_ms, at_ms)) <= now_ms;
        case WindowKind::fixed:
            return at_ms < end_ms - length_ms;
        default:
            return at_ms < period_at(window(), now_ms, now_ms).start_ms;
    }
}

inline void Counter::observe(const CounterState& truth, int64_t at_us, int64_t now_ms) noexcept {
    const int64_t late_us = observed_us - at_us;
    if (unit == Unit::parallel || (late_us > 0 && late_us < kReorderedUs)) {
        return;
    }
    observed_us = at_us;
    const int64_t target = std::max<int64_t>(saturating_add(truth.used, unpaid(now_ms)), 0);
    if (sliding()) {
        set_sliding_value(used, period, length_ms, now_ms, target);
        return;
    }
    used[0] = target;
    used[kStart] = truth.start_ms;
    if (kind == WindowKind::fixed && truth.reset_ms > 0) {
        end_ms = now_ms + std::min(truth.reset_ms, length_ms);
    }
}

}  // namespace ledger
