#pragma once

// One counter of the shared-memory ledger, and its arithmetic. A plain struct that lives in shared
// memory; only Book touches it, under the caller's lock.
//
// Every function may be cut short by a kill: each amount changes in one store, and the store that
// makes a window current is the last one of its roll, so that a roll cut short is simply done
// again.

#include <algorithm>
#include <atomic>

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

struct alignas(64) Counter {
    std::array<uint64_t, 2> hash;
    int64_t length_ms;
    int64_t end_ms;  // of the window; kNever for none and sliding
    int64_t period;  // sliding: the newest slice; else how often the window has rolled
    int64_t held;    // amounts of live holds; without those of windows that are over
    uint32_t next;   // in the hash chain or the free list
    uint32_t holds;  // claims that refer to this counter: it must stay
    Unit unit;
    WindowKind kind;
    bool live;
    Slots used;  // settled + held: by slice if sliding, else all in the first

    Window window() const noexcept { return {kind, length_ms}; }
    bool sliding() const noexcept { return kind == WindowKind::sliding; }

    bool is(const CounterId& id, Unit u, const Window& w) const noexcept {
        return hash == id.hash && unit == u && window() == w;
    }

    void open(const CounterId& id, Unit u, const Window& w, int64_t now_ms) noexcept;
    // To the window that holds now_ms. Everything below expects this to have been done.
    void roll(int64_t now_ms) noexcept;

    int64_t value(int64_t now_ms) const noexcept;
    // `wanted`: the amount that retry_ms is about.
    CounterState state(int64_t now_ms, int64_t limit, int64_t wanted) const noexcept;

    // Without roll: what the counter holds of use to anyone at now_ms.
    bool idle(int64_t now_ms) const noexcept {
        return holds == 0 && (now_ms >= end_ms || value(now_ms) == 0);
    }

    void hold(int64_t amount) noexcept;
    // Ends a hold made in `of_period` that is charged as `actual`. Without roll.
    void settle(int64_t of_period, int64_t amount, int64_t actual) noexcept;
    // Ends a hold as it was held; only parallel slots come back. Without roll.
    void lapse(int64_t of_period, int64_t amount) noexcept;
    // What recovery does instead of hold(): the holds are all that is counted anew.
    void forget_holds() noexcept;
    void recount_hold(int64_t of_period, int64_t amount) noexcept;
    // `truth.used` and a fixed window's end come from elsewhere; own holds stay on top. Sliding
    // holds count on top for as long as they run, even after their slice has gone: the strict side.
    void observe(const CounterState& truth, int64_t now_ms) noexcept;

  private:
    // nullptr: that window is over.
    int64_t* cell(int64_t of_period) noexcept;
    bool is_current(int64_t of_period) const noexcept { return sliding() || of_period == period; }
    int64_t longest_ms() const noexcept;
    int64_t retry_ms(int64_t now_ms, int64_t used, int64_t limit, int64_t wanted) const noexcept;
};

inline void Counter::open(const CounterId& id, Unit u, const Window& w, int64_t now_ms) noexcept {
    hash = id.hash;
    unit = u;
    kind = w.kind;
    length_ms = w.length_ms;
    end_ms = period_at(w, now_ms, now_ms).end_ms;
    period = sliding() ? slice_of(length_ms, now_ms) : 0;
    held = 0;
    holds = 0;
    used = {};
}

inline int64_t Counter::longest_ms() const noexcept {
    constexpr int64_t kDay = 86'400'000;
    switch (kind) {
        case WindowKind::fixed:
            return length_ms;
        case WindowKind::day:
            return kDay;
        case WindowKind::week:
            return 7 * kDay;
        case WindowKind::month:
            return 31 * kDay;
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
        held = 0;
        keep_order();
        end_ms = period_at(window(), end_ms - length_ms, now_ms).end_ms;
        return;
    }
    // An end farther away than any such window is long was set by a clock that was wrong: what was
    // used stays, the window is the one of today.
    if (end_ms - now_ms > longest_ms()) {
        end_ms = period_at(window(), now_ms, now_ms).end_ms;
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
    held = saturating_add(held, amount);
}

inline void Counter::settle(int64_t of_period, int64_t amount, int64_t actual) noexcept {
    if (int64_t* charged = cell(of_period); charged != nullptr) {
        *charged = saturating_add(std::max<int64_t>(*charged - amount, 0), actual);
    }
    if (is_current(of_period)) {
        held -= amount;
    }
    --holds;
}

inline void Counter::lapse(int64_t of_period, int64_t amount) noexcept {
    if (unit == Unit::parallel) {
        settle(of_period, amount, 0);
        return;
    }
    if (is_current(of_period)) {
        held -= amount;
    }
    --holds;
}

inline void Counter::forget_holds() noexcept {
    held = 0;
    holds = 0;
    if (unit == Unit::parallel) {
        used[0] = 0;
    }
}

inline void Counter::recount_hold(int64_t of_period, int64_t amount) noexcept {
    ++holds;
    if (is_current(of_period)) {
        held = saturating_add(held, amount);
    }
    if (unit == Unit::parallel) {
        used[0] += amount;
    }
}

inline void Counter::observe(const CounterState& truth, int64_t now_ms) noexcept {
    if (unit == Unit::parallel) {
        return;
    }
    const int64_t target = saturating_add(std::max<int64_t>(truth.used, 0), held);
    if (sliding()) {
        set_sliding_value(used, period, length_ms, now_ms, target);
        return;
    }
    used[0] = target;
    if (kind == WindowKind::fixed && truth.reset_ms > 0) {
        end_ms = now_ms + std::min(truth.reset_ms, length_ms);
    }
}

}  // namespace ledger
