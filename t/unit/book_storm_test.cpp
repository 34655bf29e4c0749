// The whole of a book in random weather: several claims per request on every kind of window, limits
// that change, clocks that step far forwards and back, crashes of owners and inside of calls,
// reloads. Whatever comes:
//  - no admission takes what is settled and held beyond a limit,
//  - what was used in a window stays until the window ends, and windows end in their time,
//  - in the end nothing is held, and no slot is taken.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "book_weather.hpp"

namespace ledger {
namespace {

// What one counter has been charged with in its window, which ends by the clock, or with it if the
// clock turns out to have been far ahead.
class Ledgerline {
  public:
    explicit Ledgerline(const Meter& meter) : meter_(meter) {}

    // A request asks for it.
    void pick(int64_t clock) {
        if (!std::exchange(is_open_, true)) {
            end_ = period_at(meter_.window, clock, clock).end_ms;
        }
        roll(clock);
    }

    void charge(uint64_t id, int64_t amount) { charges_[id] += amount; }
    // In the window of its hold, or nowhere.
    void settle(uint64_t id, int64_t amount) {
        if (const auto charge = charges_.find(id); charge != charges_.end()) {
            charge->second = amount;
        }
    }

    int64_t value() const {
        int64_t sum = 0;
        for (const auto& [_, amount] : charges_) {
            sum += amount;
        }
        return sum;
    }

    void expect(const CounterState& state, int64_t clock) const {
        Ledgerline line(*this);
        line.roll(clock);
        ASSERT_EQ(state.used, line.value()) << meter_.id.name;
        if (is_open_ && !is_parallel()) {
            ASSERT_EQ(state.reset_ms, line.end_ - clock) << meter_.id.name;
        }
    }

    const Meter& meter() const { return meter_; }

  private:
    bool is_parallel() const { return meter_.unit == Unit::parallel; }
    void roll(int64_t clock) {
        if (!is_open_ || is_parallel()) {
            return;
        }
        if (clock >= end_) {
            charges_.clear();
            end_ = period_at(meter_.window, end_ - meter_.window.length_ms, clock).end_ms;
        } else if (end_ - clock > longest()) {
            end_ = period_at(meter_.window, clock, clock).end_ms;
        }
    }

    // Of any such window. An end that is farther off was set by a wrong clock.
    int64_t longest() const {
        const int64_t end_of_summer = meter_.window.zone == 0 ? 0 : 2 * kHour;
        switch (meter_.window.kind) {
            case WindowKind::fixed:
                return meter_.window.length_ms;
            case WindowKind::day:
                return kDay + end_of_summer;
            case WindowKind::week:
                return 7 * kDay + end_of_summer;
            default:
                return 31 * kDay + end_of_summer;
        }
    }

    const Meter& meter_;
    bool is_open_ = false;
    int64_t end_ = 0;
    std::map<uint64_t, int64_t> charges_;  // of the present window, by request
};

// A book that is the ledger. Rates are left to book_model_test: a sliding window cannot tell after
// a step back which of its slices are whose.
class Storm : Weather {
  public:
    explicit Storm(uint64_t seed) : Weather(seed), lines_(meters_.begin(), meters_.end()) {
        tick();
    }

    void step() {
        const int64_t what = below(100);
        if (what < 45) {
            reserve();
        } else if (what < 80) {
            settle_one();
        } else if (what < 85) {
            renew_one();
        } else if (what < 90) {
            move_clock();
        } else if (what < 92) {
            crash();
        } else if (what < 94) {
            die_in_a_call();
        } else if (what < 95) {
            reload();
        } else {
            compare(below(static_cast<int64_t>(lines_.size())));
        }
        now_ += below(2'000);
        tick();
    }

    void expect_calm_in_the_end() {
        while (!held_.empty()) {
            settle_one();
        }
        for (size_t i = 0; i < lines_.size(); ++i) {
            compare(static_cast<int64_t>(i));
        }
        ASSERT_EQ(book_.counts().holds, 0U);
        std::vector<Claim> claims;
        for (const Meter& meter : meters_) {
            claims.push_back(meter.claim(kNever - 1, 0));
        }
        // Whose windows then end in their time, if the clock was far ahead.
        ASSERT_EQ(book_.reserve(request(++next_id_), {0, 1}, claims, now_).outcome,
                  Outcome::admitted);
        ASSERT_TRUE(book_.settle(request(next_id_), {0, 0, false}));
        now_ += 32 * kDay;
        for (const Meter& meter : meters_) {
            ASSERT_EQ(peek(meter).used, 0) << meter.id.name;
        }
    }

    int admitted = 0;
    int denied = 0;
    int steps_back = 0;

  private:
    struct Held {
        Owner owner;
        std::map<size_t, int64_t> on;  // how many claims on each
    };

    // The book follows the latest time, unless that was far ahead.
    void tick() {
        const bool stepped_back = clock_ - now_ > Book::kClockStep;
        if (now_ > clock_ || stepped_back) {
            clock_ = now_;
        }
        book_.lapse(now_, 0);
        steps_back += stepped_back ? 1 : 0;
    }

    void move_clock() {
        if (one_in(2)) {
            now_ += one_in(4) ? below(9 * kDay) : below(kHour);
        } else {
            now_ -= one_in(4) ? below(9 * kDay) : below(2 * Book::kClockStep);
        }
        tick();
    }

    void reserve() {
        std::vector<size_t> on;
        std::vector<Claim> claims;
        for (int64_t n = below(8); n > 0; --n) {
            on.push_back(static_cast<size_t>(below(static_cast<int64_t>(meters_.size()))));
            const Meter& meter = meters_[on.back()];
            const bool one = meter.unit == Unit::requests || meter.unit == Unit::parallel;
            claims.push_back(meter.claim(one ? 2 + below(30) : below(4000), one ? 1 : below(300)));
        }
        const uint64_t id = ++next_id_;
        const Owner owner = owners_[static_cast<size_t>(below(3))];
        const Decision decision = book_.reserve(request(id), owner, claims, now_);
        ASSERT_NE(decision.outcome, Outcome::unavailable);
        forget_lapsed(decision.outcome == Outcome::admitted ? 1 : 0);
        std::map<size_t, int64_t> wanted;
        for (size_t i = 0; i < on.size(); ++i) {
            wanted[on[i]] += claims[i].amount;
            lines_[on[i]].pick(clock_);
        }
        bool fits = true;
        for (size_t i = 0; i < on.size(); ++i) {
            fits = fits && lines_[on[i]].value() + wanted[on[i]] <= claims[i].limit;
        }
        ASSERT_EQ(decision.outcome, fits ? Outcome::admitted : Outcome::denied);
        ++(fits ? admitted : denied);
        for (size_t i = 0; fits && i < on.size(); ++i) {
            lines_[on[i]].charge(id, claims[i].amount);
        }
        for (size_t i = 0; i < on.size(); ++i) {
            lines_[on[i]].expect(decision.states[i], clock_);
        }
        if (fits) {
            held_[id].owner = owner;
            for (const size_t line : on) {
                ++held_[id].on[line];
            }
        }
    }

    // Some may have lapsed on the way: the book counts fewer. A renewal tells which.
    void forget_lapsed(size_t new_holds) {
        if (book_.counts().holds == held_.size() + new_holds) {
            return;
        }
        for (auto held = held_.begin(); held != held_.end();) {
            held = book_.renew(request(held->first), now_) ? std::next(held) : lapse(held);
        }
    }

    // Charged as it was held; slots come back.
    std::map<uint64_t, Held>::iterator lapse(std::map<uint64_t, Held>::iterator held) {
        for (const auto& [line, _] : held->second.on) {
            if (meters_[line].unit == Unit::parallel) {
                lines_[line].settle(held->first, 0);
            }
        }
        return held_.erase(held);
    }

    std::map<uint64_t, Held>::iterator any_hold() {
        return std::next(held_.begin(), below(static_cast<int64_t>(held_.size())));
    }

    void settle_one() {
        if (held_.empty()) {
            return;
        }
        const auto held = any_hold();
        const Actual actual{below(500), below(500), !one_in(3)};
        ASSERT_EQ(book_.counts().holds, held_.size());
        ASSERT_TRUE(book_.settle(request(held->first), actual));
        ASSERT_FALSE(book_.settle(request(held->first), actual));
        for (const auto& [line, claims] : held->second.on) {
            lines_[line].settle(held->first, claims * used_of(meters_[line].unit, actual));
        }
        held_.erase(held);
    }

    void renew_one() {
        if (!held_.empty()) {
            ASSERT_TRUE(book_.renew(request(any_hold()->first), now_));
        }
    }

    void crash() {
        Owner& owner = owners_[static_cast<size_t>(below(3))];
        ++owner.pid;
        book_.lapse_owner(owner);
        for (auto held = held_.begin(); held != held_.end();) {
            const Owner& of = held->second.owner;
            const bool is_dead = of.slot == owner.slot && of.pid != owner.pid;
            held = is_dead ? lapse(held) : std::next(held);
        }
    }

    void compare(int64_t line) {
        Ledgerline& one = lines_[static_cast<size_t>(line)];
        one.expect(peek(one.meter()), clock_);
    }

    const std::vector<Meter> meters_{
        {"fixed-7s", Unit::tokens, {WindowKind::fixed, 7000}},
        {"fixed-5h", Unit::nano_usd, {WindowKind::fixed, 5 * kHour}},
        {"fixed-7d", Unit::nano_usd, {WindowKind::fixed, 7 * kDay}},
        {"day", Unit::requests, {WindowKind::day, 0}},
        {"week", Unit::tokens, {WindowKind::week, 0}},
        {"month", Unit::nano_usd, {WindowKind::month, 0}},
        {"day@Berlin", Unit::nano_usd, calendar(WindowKind::day, "Europe/Berlin")},
        {"week@Havana", Unit::nano_usd, calendar(WindowKind::week, "America/Havana")},
        {"month@Lord_Howe", Unit::tokens, calendar(WindowKind::month, "Australia/Lord_Howe")},
        {"parallel-a", Unit::parallel, {}},
        {"parallel-b", Unit::parallel, {}},
    };
    std::vector<Ledgerline> lines_;
    std::vector<Owner> owners_{{0, 1}, {1, 2}, {2, 3}};
    std::map<uint64_t, Held> held_;
    int64_t clock_ = kStart;
};

TEST(BookStorm, NeitherOvershootsNorLeaksNorForgives) {
    int steps_back = 0;
    for (uint64_t n = 1; n <= 8; ++n) {
        Storm storm(seed_of(n));
        for (int step = 0; step < 2'000; ++step) {
            storm.step();
            ASSERT_FALSE(testing::Test::HasFatalFailure())
                << "seed " << seed_of(n) << " step " << step;
        }
        storm.expect_calm_in_the_end();
        ASSERT_FALSE(testing::Test::HasFatalFailure()) << "seed " << seed_of(n);
        EXPECT_GT(storm.admitted, 100);
        EXPECT_GT(storm.denied, 100);
        steps_back += storm.steps_back;
    }
    EXPECT_GT(steps_back, 50);
}

}  // namespace
}  // namespace ledger
