#pragma once

// Books in random weather: what happens to them whatever they are asked.

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "book_support.hpp"
#include "ledger/time_zone.hpp"
#include "ledger/window.hpp"

namespace ledger {

inline constexpr int64_t kHour = 3'600'000;
inline constexpr int64_t kDay = 24 * kHour;

inline Window calendar(WindowKind kind, const char* zone) {
    return {kind, 0, time_zone_number(zone).value()};
}

class Weather {
  public:
    explicit Weather(uint64_t seed) : random_(seed) {}

  protected:
    static constexpr int64_t kHoldTtl =
        10 * kHour;  // so that most live through a step of the clock

    int64_t below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
    bool one_in(int64_t n) { return below(n) == 0; }

    void reload() { book_ = Book::attach(memory_.data(), memory_.size()).value(); }
    void die_in_a_call() { ledger::die_in_a_call(memory_); }
    CounterState peek(const Meter& meter) { return book_.peek(meter.claim(0, 0), now_); }

    std::mt19937_64 random_;
    std::vector<std::byte> memory_ = std::vector<std::byte>(1024 * 1024);
    Book book_ = Book::format(memory_.data(), memory_.size(), kHoldTtl).value();
    int64_t now_ = kStart;
    uint64_t next_id_ = 0;
};

// What settles a claim of the unit.
inline int64_t used_of(Unit unit, const Actual& actual) {
    switch (unit) {
        case Unit::nano_usd:
            return actual.nano_usd;
        case Unit::tokens:
            return actual.tokens;
        case Unit::requests:
            return actual.counts_as_request ? 1 : 0;
        case Unit::parallel:
            break;
    }
    return 0;
}

// With --gtest_shuffle every run, and every --gtest_repeat of it, has seeds of its own.
inline uint64_t seed_of(uint64_t n) {
    const auto run = static_cast<uint64_t>(testing::UnitTest::GetInstance()->random_seed());
    return GTEST_FLAG_GET(shuffle) ? 1000 * run + n : n;
}

}  // namespace ledger
