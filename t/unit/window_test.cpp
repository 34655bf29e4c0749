#include "ledger/window.hpp"

#include <gtest/gtest.h>

#include <ctime>
#include <random>

namespace ledger {
namespace {

constexpr int64_t kHour = 3'600'000;
constexpr int64_t kDay = 24 * kHour;

int64_t utc(int year, int month, int day, int hour = 0, int minute = 0, int second = 0) {
    std::tm tm{};
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    tm.tm_mday = day;
    tm.tm_hour = hour;
    tm.tm_min = minute;
    tm.tm_sec = second;
    return int64_t{timegm(&tm)} * 1000;
}

Period calendar(WindowKind kind, int64_t now) {
    return period_at({kind, 0}, now, now);
}

TEST(Window, FixedStartsAtFirstUseAndRollsByWholeLengths) {
    const Window window{WindowKind::fixed, 1000};
    EXPECT_EQ(period_at(window, 5300, 5300), (Period{5300, 6300}));
    EXPECT_EQ(period_at(window, 5300, 6299), (Period{5300, 6300}));
    EXPECT_EQ(period_at(window, 5300, 6300), (Period{6300, 7300}));
    EXPECT_EQ(period_at(window, 5300, 9999), (Period{9300, 10300}));
}

TEST(Window, CalendarDay) {
    const Period day{utc(2024, 2, 29), utc(2024, 3, 1)};
    EXPECT_EQ(calendar(WindowKind::day, day.start_ms), day);
    EXPECT_EQ(calendar(WindowKind::day, day.end_ms - 1), day);
    EXPECT_EQ(calendar(WindowKind::day, day.end_ms).start_ms, day.end_ms);
}

TEST(Window, CalendarWeekBeginsOnMonday) {
    const Period week{utc(2024, 12, 30), utc(2025, 1, 6)};  // over the turn of the year
    EXPECT_EQ(calendar(WindowKind::week, week.start_ms), week);
    EXPECT_EQ(calendar(WindowKind::week, utc(2025, 1, 5, 23, 59, 59)), week);
    EXPECT_EQ(calendar(WindowKind::week, week.start_ms - 1).end_ms, week.start_ms);
}

TEST(Window, CalendarMonth) {
    EXPECT_EQ(calendar(WindowKind::month, utc(2024, 2, 29, 23, 59, 59)),
              (Period{utc(2024, 2, 1), utc(2024, 3, 1)}));
    EXPECT_EQ(calendar(WindowKind::month, utc(2023, 2, 28)),
              (Period{utc(2023, 2, 1), utc(2023, 3, 1)}));
    EXPECT_EQ(calendar(WindowKind::month, utc(2025, 12, 31, 23)),
              (Period{utc(2025, 12, 1), utc(2026, 1, 1)}));
    EXPECT_EQ(calendar(WindowKind::month, utc(2100, 2, 28)),
              (Period{utc(2100, 2, 1), utc(2100, 3, 1)}));  // no leap year
}

TEST(Window, EveryCalendarPeriodMeetsTheNext) {
    for (const WindowKind kind : {WindowKind::day, WindowKind::week, WindowKind::month}) {
        int64_t at = calendar(kind, utc(1999, 12, 31)).start_ms;
        while (at < utc(2032, 1, 1)) {
            const Period period = calendar(kind, at);
            ASSERT_EQ(period.start_ms, at);
            ASSERT_GT(period.end_ms, at);
            ASSERT_EQ(calendar(kind, period.end_ms - 1), period);
            at = period.end_ms;
        }
    }
}

TEST(Window, NoneNeverEnds) {
    EXPECT_EQ(period_at({}, 7, 7), (Period{0, kNever}));
}

TEST(Slices, NoAmountIsForgottenWhileItsWindowLasts) {
    // Of every length, also those that no slice divides: charged at t, it counts until t + length -
    // 1 at least and is gone one slice later at most.
    std::mt19937_64 random(7);
    for (const int64_t length : {1000LL, 1001LL, 1234LL, 60'000LL, 86'400'000LL}) {
        for (int n = 0; n < 2000; ++n) {
            const int64_t charged = utc(2025, 1, 1) + static_cast<int64_t>(random() % 100'000'000);
            const int64_t slice = slice_of(length, charged);
            Slots slots{};
            slots[slot_of(slice)] = 5;
            ASSERT_EQ(sliding_value(slots, slice, length, charged), 5);
            ASSERT_EQ(sliding_value(slots, slice, length, charged + length - 1), 5);
            const int64_t gone = slice_gone_ms(length, slice);
            ASSERT_LE(gone, charged + length + slice_length(length) - 1);
            ASSERT_EQ(sliding_value(slots, slice, length, gone - 1), 5);
            ASSERT_EQ(sliding_value(slots, slice, length, gone), 0);
            ASSERT_EQ(sliding_reset(slots, slice, length, charged), gone - charged);
            ASSERT_LE(slice_of(length, gone - 1) - slice, kSlices);  // still in its slot
        }
    }
}

TEST(Slices, AdvanceEmptiesWhatItPasses) {
    Slots slots{};
    int64_t newest = 100;
    for (int i = 0; i < kSlots; ++i) {
        slots[slot_of(newest - i)] = 1 + i;
    }
    advance(slots, newest, 103);
    EXPECT_EQ(newest, 103);
    EXPECT_EQ(slots[slot_of(103)], 0);
    EXPECT_EQ(slots[slot_of(101)], 0);
    EXPECT_EQ(slots[slot_of(100)], 1);
    EXPECT_EQ(slots[slot_of(103 - kSlices)], kSlots - 3);
    advance(slots, newest, 103 + kSlots);
    EXPECT_EQ(slots, Slots{});
}

TEST(Slices, AClockSetBackForgetsNothing) {
    Slots slots{};
    int64_t newest = 50;
    slots[slot_of(50)] = 3;
    slots[slot_of(45)] = 4;
    advance(slots, newest, 20);
    EXPECT_EQ(newest, 20);
    EXPECT_EQ(sliding_value(slots, newest, 1200, 20 * 100), 7);
}

TEST(Slices, RetryIsTheFirstMomentThatFits) {
    constexpr int64_t kLength = 1200;  // slices of 100 ms
    Slots slots{};
    const int64_t now = 100'050;
    const int64_t newest = slice_of(kLength, now);
    slots[slot_of(newest - 10)] = 30;
    slots[slot_of(newest - 4)] = 50;
    slots[slot_of(newest)] = 20;
    const auto retry = [&](int64_t limit, int64_t amount) {
        return sliding_retry(slots, newest, kLength, now, limit, amount);
    };
    EXPECT_EQ(retry(110, 10), 0);
    EXPECT_EQ(retry(100, 30), slice_gone_ms(kLength, newest - 10) - now);
    EXPECT_EQ(retry(100, 31), slice_gone_ms(kLength, newest - 4) - now);
    EXPECT_EQ(retry(100, 100), slice_gone_ms(kLength, newest) - now);
    EXPECT_EQ(retry(100, 101), -1);
}

TEST(Slices, SetValueKeepsTheDistribution) {
    constexpr int64_t kLength = 1200;
    const int64_t now = 100'000;
    const int64_t newest = slice_of(kLength, now);
    Slots slots{};
    slots[slot_of(newest - 5)] = 30;
    slots[slot_of(newest - 2)] = 10;
    set_sliding_value(slots, newest, kLength, now, 45);
    EXPECT_EQ(slots[slot_of(newest)], 5);
    set_sliding_value(slots, newest, kLength, now, 11);
    EXPECT_EQ(slots[slot_of(newest - 5)], 0);
    EXPECT_EQ(slots[slot_of(newest - 2)], 6);
    EXPECT_EQ(slots[slot_of(newest)], 5);
    set_sliding_value(slots, newest, kLength, now, 0);
    EXPECT_EQ(slots, Slots{});
}

TEST(WindowText, ReadsWhatTheDirectivesTake) {
    const auto fixed = [](int64_t ms) { return Window{WindowKind::fixed, ms}; };
    EXPECT_EQ(parse_window("1s"), fixed(1000));
    EXPECT_EQ(parse_window("30s"), fixed(30'000));
    EXPECT_EQ(parse_window("5m"), fixed(300'000));
    EXPECT_EQ(parse_window("1h"), fixed(kHour));
    EXPECT_EQ(parse_window("1d"), fixed(kDay));
    EXPECT_EQ(parse_window("30d"), fixed(30 * kDay));
    EXPECT_EQ(parse_window("366d"), fixed(366 * kDay));
    EXPECT_EQ(parse_window("1d@UTC"), (Window{WindowKind::day, 0}));
    EXPECT_EQ(parse_window("1w"), (Window{WindowKind::week, 0}));
    EXPECT_EQ(parse_window("1mo"), (Window{WindowKind::month, 0}));
}

TEST(WindowText, RefusesTheRest) {
    for (const char* text : {"",
                             "s",
                             "0s",
                             "-1s",
                             "+1s",
                             "01s",
                             "1",
                             "1.5h",
                             "1 h",
                             " 1h",
                             "1h ",
                             "1D",
                             "1ms",
                             "1y",
                             "2w",
                             "2mo",
                             "2d@UTC",
                             "1d@utc",
                             "367d",
                             "8785h",
                             "31622401s",
                             "99999999999999999999s",
                             "9223372036854775807d"}) {
        EXPECT_EQ(parse_window(text), std::nullopt) << text;
    }
}

TEST(WindowText, EqualWindowsHaveEqualTexts) {
    for (const char* text : {"30s", "5m", "1h", "7d", "90m", "1d@UTC", "1w", "1mo"}) {
        EXPECT_EQ(to_string(*parse_window(text)), text);
    }
    EXPECT_EQ(to_string(*parse_window("60s")), "1m");
    EXPECT_EQ(to_string(*parse_window("24h")), "1d");
    EXPECT_EQ(to_string({WindowKind::sliding, 60'000}), "sliding-1m");
    EXPECT_EQ(to_string({WindowKind::sliding, 1500}), "sliding-1500ms");
    EXPECT_EQ(to_string({}), "none");
}

}  // namespace
}  // namespace ledger
