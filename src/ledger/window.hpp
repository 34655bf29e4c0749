#pragma once

// The arithmetic of windows. Pure, and the one specification of both ledgers: what the Redis script
// computes must agree with the formulas here. All times are Unix milliseconds, all divisions floor.
//
// One value (fixed, day, week, month, none). A counter keeps one number and the end of its window.
//   now ≥ end: a new window, the value restarts at 0:
//     fixed     start' = start + ⌊(now - start) / length⌋ · length,  end' = start' + length;
//               a counter that is not there (never used, or forgotten after its window) starts at
//               now
//     calendar  the day, ISO week (from Monday 00:00) or month of the time zone that holds now; it
//               begins with the first moment of its first day there
//     none      never ends
//   now < end: the same window, also when the clock has stepped back before its start.
//   reset = end - now (none: 0).  retry = 0 if it fits; -1 if amount > limit; else reset
//   (none: -1, for parallel 0: when a running request ends).
//
// Sliding. Time is cut into slices that are the same for every counter of that length:
//   s          = ⌈length / kSlices⌉
//   slice(t)   = ⌊t / s⌋
//   first(now) = ⌊(now - length + 1) / s⌋         the oldest slice that overlaps (now - length,
//   now] value(now) = Σ amounts of the slices first(now) … slice(now)        at most kSlices + 1 of
//   them gone(i)    = (i + 1)·s + length - 1           the first moment at which slice i counts no
//   more slot(i)    = i mod kSlots                     where slice i is kept reset      =
//   gone(newest slice with an amount ≠ 0) - now; 0 if there is none retry      = 0 if it fits; -1
//   if amount > limit; else gone(j) - now for the smallest j such that
//                the slices after j leave room: Σ(j+1 …) + amount ≤ limit
// An amount is charged to slice(now) at admission and changed there when it is settled, or not at
// all once that slice has left the slots.

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "ledger/ledger.hpp"

namespace ledger {

inline constexpr int kSlices = 12;
inline constexpr int kSlots = kSlices + 1;
inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// Half-open: start_ms ≤ t < end_ms.
struct Period {
    int64_t start_ms = 0;
    int64_t end_ms = 0;
    bool operator==(const Period&) const = default;
};

// The period of `window` that holds now_ms. `anchor_ms`: the start of any earlier period of a fixed
// window, or now_ms for its first use; the others ignore it. none: {0, kNever}. Not for sliding.
Period period_at(const Window& window, int64_t anchor_ms, int64_t now_ms) noexcept;

int64_t slice_length(int64_t length_ms) noexcept;
int64_t slice_of(int64_t length_ms, int64_t now_ms) noexcept;
int64_t first_slice(int64_t length_ms, int64_t now_ms) noexcept;
int64_t slice_gone_ms(int64_t length_ms, int64_t slice) noexcept;
size_t slot_of(int64_t slice) noexcept;

// The slices newest - kSlices … newest, each in its slot.
using Slots = std::array<int64_t, kSlots>;

// Moves `newest` to `slice` and empties the slots that this frees. A slice before `newest` means
// that the clock has stepped back: all that was counted then counts as of that slice.
void advance(Slots& slots, int64_t& newest, int64_t slice) noexcept;

int64_t sliding_value(const Slots& slots, int64_t newest, int64_t length_ms,
                      int64_t now_ms) noexcept;
int64_t sliding_reset(const Slots& slots, int64_t newest, int64_t length_ms,
                      int64_t now_ms) noexcept;
int64_t sliding_retry(const Slots& slots, int64_t newest, int64_t length_ms, int64_t now_ms,
                      int64_t limit, int64_t amount) noexcept;

// Makes the value at now_ms `value` (≥ 0): more is charged to the newest slice, less is taken from
// the oldest ones first. slots: advanced to now_ms.
void set_sliding_value(Slots& slots, int64_t newest, int64_t length_ms, int64_t now_ms,
                       int64_t value) noexcept;

// "30s 5m 1h 1d 7d": fixed, 1s … 366d. "1d@UTC", "1w", "1mo", "1mo@Europe/Berlin": calendar; the
// time zone is loaded. Anything else: nothing.
std::optional<Window> parse_window(std::string_view text);

// As parse_window reads it, in the largest unit that divides the length ("60s" → "1m"), so that
// equal windows have equal texts. Sliding: "sliding-1m"; none: "none".
std::string to_string(const Window& window);

}  // namespace ledger
