#pragma once

// Budgets and rates: what a request asks of its counters, and the two ledgers that answer.
//
// A *counter* is one scope, unit and window ("team=research, nano-USD, 30d"). A request brings one
// *claim* per counter; a ledger admits all of them or none, in one atomic step, and keeps a *hold*
// under the request's id until it is settled or its deadline passes.
//
//   value(counter) = settled + held
//   admit  ⇔  for every claim: value + amount ≤ limit      (parallel: held + 1 ≤ limit)
//
// Both ledgers keep these rules, with the same arithmetic (window.hpp):
//  - Fixed and calendar windows roll at admission, by the clock. A hold belongs to the window that
//    it was made in: settled later, it changes nothing in a newer one.
//  - Sliding windows (rates) count in kSlices slices; everything in a slice that still overlaps the
//    window counts, so that no window of that length ever holds more than the limit.
//  - settle replaces the held amount by the actual one in the window of the hold, whatever the
//    limit says (a charge may exceed it; debt is kept). Exactly once: a second settle of an id does
//    nothing.
//  - A hold that lapses (deadline, dead owner) is charged as held; parallel slots are given back.
//  - The limit is an argument of the claim, never stored: changing it resets nothing.

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "llm/request_id.hpp"

namespace ledger {

enum class Unit : uint8_t { nano_usd, tokens, requests, parallel };

enum class WindowKind : uint8_t {
    none,     // parallel: no window
    fixed,    // length_ms from the counter's first use
    day,      // calendar, of a time zone
    week,     // from Monday
    month,
    sliding,  // the last length_ms
};

struct Window {
    WindowKind kind = WindowKind::none;
    int64_t length_ms = 0;  // fixed and sliding
    int64_t zone = 0;       // calendar: the time zone's number (time_zone.hpp); 0: UTC
    bool operator==(const Window&) const = default;
};

// Names a counter. `name` is readable and is the key's tail in Redis; `hash` (first half of its
// SHA-256) is the key in shared memory. Made once, when the configuration or a key record is
// loaded.
struct CounterId {
    std::string name;  // e.g. "team:research:usd:30d"; no secret in it
    std::array<uint64_t, 2> hash{};
};

// A longer name ends in its hash instead.
inline constexpr size_t kMaxCounterName = 80;
CounterId make_counter_id(std::string name);

struct Claim {
    const CounterId* counter = nullptr;  // outlives the request and its settlement
    Unit unit = Unit::nano_usd;
    Window window;
    int64_t limit = 0;   // in the unit; ≥ 0
    int64_t amount = 0;  // to hold; ≥ 0; parallel and requests: 1
};

inline constexpr size_t kMaxClaims = 24;  // per request; the configuration is checked against it

struct CounterState {
    int64_t used = 0;      // settled + held; after an admission it includes the claim
    int64_t reset_ms = 0;  // until the window ends; sliding: until the value has fallen to zero
    // Denied claim: until the amount could fit if nothing else came; -1: never; parallel: 0, since a
    // running request has to end first. 0 for a claim that fits.
    int64_t retry_ms = 0;
    // Of the window: Unix ms by the clock of the ledger that the fleet shares. Sliding, none: 0.
    int64_t start_ms = 0;
};

// Counters that a fleet shares may be lost as a whole, and are then begun anew: in another *epoch*.
// Money that was charged in one epoch is brought into the next one by the spend rows, which say
// which one it was; so what is charged later than that must not count again.
using Epoch = uint64_t;
inline constexpr Epoch kNoEpochs = 0;      // nobody brings anything back: all charges count
inline constexpr Epoch kEpochUnknown = 1;  // the present one has not been heard of yet
inline constexpr Epoch kFirstEpoch = 2;
inline constexpr Epoch kEpochEnd = Epoch{1} << 53;  // all are less: exact as a double

enum class Outcome : uint8_t {
    admitted,
    denied,
    unavailable,  // the ledger could not say (zone full, Redis down with on_failure=deny)
};

struct Decision {
    Outcome outcome = Outcome::unavailable;
    bool held = false;        // a hold exists and wants settle() (not so for on_failure=allow)
    size_t denied_claim = 0;  // index, if denied: the first claim that did not fit
    std::array<CounterState, kMaxClaims> states{};  // per claim, if admitted or denied
    int64_t decided_us = 0;   // when, by the clock of a ledger elsewhere; 0: here
    Epoch epoch = kNoEpochs;  // that what it holds will be charged in
};

// What really was used. Counters take the amount of their unit; requests stay 1, parallel returns
// to 0.
struct Actual {
    int64_t nano_usd = 0;
    int64_t tokens = 0;
    bool counts_as_request = true;  // false: the requests claim is given back too
    uint32_t spared = 0;            // bit i: of claim i nothing was used
};
static_assert(kMaxClaims <= 32);

// Who waits for a decision. Called from the event loop, never from inside reserve().
class Waiter {
  public:
    virtual void on_decision(const Decision& decision) noexcept = 0;

  protected:
    ~Waiter() = default;
};

class Ledger {
  public:
    virtual ~Ledger() = default;

    // The decision at once, or nothing: then `waiter` hears exactly once, unless abandoned before.
    // The claims are copied where needed; their counters must stay.
    virtual std::optional<Decision> reserve(const llm::RequestId& id, std::span<const Claim> claims,
                                            Waiter& waiter) noexcept = 0;

    // The waiter is going away. If its hold is made after all, the ledger gives it back.
    virtual void abandon(Waiter& waiter) noexcept = 0;

    // The request is still running: its hold's deadline moves on. Not waited for.
    virtual void renew(const llm::RequestId& id, std::span<const Claim> claims) noexcept = 0;

    // Not waited for. `claims` as they were reserved.
    virtual void settle(const llm::RequestId& id, std::span<const Claim> claims,
                        const Actual& actual) noexcept = 0;
};

// What settle puts in the place of `held`; never negative.
int64_t actual_amount(Unit unit, int64_t held, const Actual& actual, size_t claim) noexcept;

}  // namespace ledger
