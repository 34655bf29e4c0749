// A book whose clock is stepped forwards and backwards at random: whatever the steps, no limit is
// exceeded, a step back forgives nothing, and nothing is stuck when they are over.

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

#include "book_support.hpp"
#include "ledger/window.hpp"

namespace ledger {
namespace {

constexpr int64_t kDay = 86'400'000;
constexpr int64_t kLimit = 1000;

class Clockwork {
  public:
    explicit Clockwork(uint64_t seed) : random_(seed) {}

    void step() {
        const int64_t what = below(100);
        if (what < 3) {
            step_back();
        } else if (what < 5) {
            now_ += below(3 * kDay);
        } else if (what < 60) {
            reserve();
        } else if (!held_.empty()) {
            const uint64_t id = *held_.begin();
            held_.erase(held_.begin());
            book_.settle(request(id), {below(200), below(200), true});
        }
        now_ += below(400);
    }

    void expect_all_free_in_the_end() {
        now_ += Book::kDefaultHoldTtl + Book::kClockStep;
        while (book_.lapse(now_, 100) > 0) {
        }
        EXPECT_EQ(book_.counts().holds, 0U);
        now_ += 32 * kDay;
        for (const Meter& meter : meters_) {
            EXPECT_EQ(used(meter), 0) << meter.id.name;
        }
    }

    int admitted = 0;
    int steps_back = 0;

  private:
    int64_t below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
    int64_t used(const Meter& meter) { return book_.peek(meter.claim(0, 0), now_).used; }

    // By less than kClockStep: the book takes that for clocks that differ and does not follow.
    void step_back() {
        std::vector<int64_t> before;
        for (const Meter& meter : meters_) {
            before.push_back(used(meter));
        }
        now_ -= 1 + below(below(2) == 0 ? Book::kClockStep : 5 * kDay);
        for (size_t i = 0; i < meters_.size(); ++i) {
            ASSERT_GE(used(meters_[i]), before[i]) << meters_[i].id.name;
        }
        ++steps_back;
    }

    void reserve() {
        std::vector<Claim> claims;
        for (const Meter& meter : meters_) {
            if (below(2) == 0) {
                const bool slot = meter.unit == Unit::parallel;
                claims.push_back(meter.claim(slot ? 9 : kLimit, slot ? 1 : below(150)));
            }
        }
        const uint64_t id = ++next_id_;
        const Decision decision = book_.reserve(request(id), {0, 1}, claims, now_);
        ASSERT_NE(decision.outcome, Outcome::unavailable);
        if (decision.outcome != Outcome::admitted) {
            return;
        }
        for (size_t i = 0; i < claims.size(); ++i) {
            ASSERT_LE(decision.states[i].used, claims[i].limit);
        }
        held_.insert(id);
        ++admitted;
    }

    const std::vector<Meter> meters_{
        {"fixed-1s", Unit::nano_usd, kFixedSecond},
        {"fixed-1d", Unit::nano_usd, {WindowKind::fixed, kDay}},
        {"day", Unit::nano_usd, {WindowKind::day, 0}},
        {"month", Unit::nano_usd, {WindowKind::month, 0}},
        {"sliding-1m", Unit::tokens, kMinute},
        {"sliding-1234ms", Unit::tokens, {WindowKind::sliding, 1234}},
        {"parallel", Unit::parallel, {}},
    };
    std::mt19937_64 random_;
    std::vector<std::byte> memory_ = std::vector<std::byte>(1024 * 1024);
    Book book_ = Book::format(memory_.data(), memory_.size()).value();
    std::set<uint64_t> held_;
    uint64_t next_id_ = 0;
    int64_t now_ = kStart;
};

TEST(BookClock, StepsForgiveNothingAndLeaveNothingStuck) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        Clockwork clockwork(seed);
        for (int i = 0; i < 5'000; ++i) {
            clockwork.step();
            ASSERT_FALSE(testing::Test::HasFatalFailure()) << "seed " << seed << " step " << i;
        }
        clockwork.expect_all_free_in_the_end();
        EXPECT_GT(clockwork.admitted, 200);
        EXPECT_GT(clockwork.steps_back, 50);
    }
}

}  // namespace
}  // namespace ledger
