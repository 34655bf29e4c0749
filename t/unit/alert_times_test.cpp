#include "ledger/alert_times.hpp"

#include <gtest/gtest.h>

namespace ledger {
namespace {

constexpr int64_t kNow = 1'800'000'000'000;
constexpr int64_t kHour = 3'600'000;
constexpr int64_t kDay = 24 * kHour;

TEST(AlertTimes, AreQuietForAsLongAsIsSaid) {
    AlertTimes times(10);
    EXPECT_TRUE(times.is_due("a", kNow, kHour));
    EXPECT_FALSE(times.is_due("a", kNow + kHour - 1, kHour));
    EXPECT_TRUE(times.is_due("b", kNow, kHour));
    EXPECT_TRUE(times.is_due("a", kNow + kHour, kHour));
    EXPECT_FALSE(times.is_due("a", kNow + kHour + 1, kHour));
}

TEST(AlertTimes, AreQuietForADayAtMost) {
    AlertTimes times(10);
    EXPECT_TRUE(times.is_due("a", kNow, INT64_MAX));
    EXPECT_FALSE(times.is_due("a", kNow + kDay - 1, INT64_MAX));
    EXPECT_TRUE(times.is_due("a", kNow + kDay, INT64_MAX));
}

TEST(AlertTimes, AClockSetBackDoesNotSilenceThem) {
    AlertTimes times(10);
    EXPECT_TRUE(times.is_due("a", kNow, kHour));
    EXPECT_TRUE(times.is_due("a", kNow - 2 * kDay, kHour));
    EXPECT_FALSE(times.is_due("a", kNow - 2 * kDay + 1, kHour));
}

TEST(AlertTimes, ForgetTheOneThatMayBeGivenSoonest) {
    AlertTimes times(100);
    EXPECT_TRUE(times.is_due("long", kNow, kDay));
    for (int i = 0; i < 10'000; ++i) {
        EXPECT_TRUE(times.is_due(std::to_string(i), kNow + i, kHour));
    }
    EXPECT_EQ(times.size(), 100U);
    EXPECT_FALSE(times.is_due("long", kNow + 10'000, kDay));
    EXPECT_FALSE(times.is_due("9999", kNow + 10'000, kHour));
    EXPECT_FALSE(times.is_due("9901", kNow + 10'000, kHour));
    EXPECT_TRUE(times.is_due("9900", kNow + 10'000, kHour));
    EXPECT_EQ(times.size(), 100U);
}

}  // namespace
}  // namespace ledger
