#include "ledger/time_zone.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <random>

#include "ledger/window.hpp"

namespace ledger {
namespace {

constexpr int64_t kEnd = 4'102'444'800;  // 2100

// The C library's opinion: it reads the same files by TZ.
class Libc {
  public:
    explicit Libc(const char* zone) {
        setenv("TZ", zone, 1);
        tzset();
    }
    ~Libc() {
        unsetenv("TZ");
        tzset();
    }
    std::tm local(int64_t unix_s) const {
        const time_t time = unix_s;
        std::tm tm{};
        localtime_r(&time, &tm);
        return tm;
    }
};

class Zones : public testing::TestWithParam<const char*> {};

TEST_P(Zones, AgreeWithTheCLibrary) {
    const Libc libc(GetParam());
    const auto number = time_zone_number(GetParam());
    ASSERT_TRUE(number);
    const TimeZone& zone = *find_time_zone(*number);
    EXPECT_EQ(time_zone_name(*number), GetParam());
    std::mt19937_64 random(1);
    for (int i = 0; i < 20'000; ++i) {
        const auto time = static_cast<int64_t>(random() % kEnd);
        ASSERT_EQ(zone.offset_at(time), libc.local(time).tm_gmtoff) << time;
    }
}

TEST_P(Zones, CalendarPeriodsBeginAndEndWhereTheDateChanges) {
    const Libc libc(GetParam());
    std::mt19937_64 random(2);
    for (const char* text : {"1d@", "1w@", "1mo@"}) {
        const auto window = parse_window(std::string(text) + GetParam());
        ASSERT_TRUE(window);
        for (int i = 0; i < 3'000; ++i) {
            const auto now = static_cast<int64_t>(random() % kEnd) * 1000 + 999;
            const Period period = period_at(*window, now, now);
            ASSERT_LE(period.start_ms, now);
            ASSERT_LT(now, period.end_ms);
            ASSERT_EQ(period_at(*window, 0, period.start_ms), period);
            ASSERT_EQ(period_at(*window, 0, period.end_ms - 1), period);
            for (const int64_t edge_ms : {period.start_ms, period.end_ms}) {
                const std::tm first = libc.local(edge_ms / 1000);
                ASSERT_NE(first.tm_mday, libc.local(edge_ms / 1000 - 1).tm_mday) << edge_ms;
                ASSERT_EQ(text[1] == 'm' ? first.tm_mday : 1, 1);
                ASSERT_EQ(text[1] == 'w' ? first.tm_wday : 1, 1);
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Some, Zones,
                         testing::Values("Europe/Berlin", "America/New_York", "Asia/Kolkata",
                                         "Australia/Lord_Howe", "Africa/Casablanca",
                                         "Europe/Dublin", "America/Sao_Paulo", "America/Santiago",
                                         "America/Havana", "Asia/Tehran", "Etc/GMT+5"));

TEST(TimeZone, ADayThatIsSkippedBelongsToNoWindow) {
    const Window day = parse_window("1d@Pacific/Apia").value();  // had no 30 December 2011
    const int64_t last_before = 1'325'239'199'000;
    const Period before = period_at(day, 0, last_before);
    EXPECT_EQ(before.end_ms, last_before + 1000);
    EXPECT_EQ(period_at(day, 0, before.end_ms).end_ms - before.end_ms, 86'400'000);
}

TEST(TimeZone, MonthsOfBerlin) {
    const Window month = parse_window("1mo@Europe/Berlin").value();
    // March 2024: 31 days less the hour that summer time takes.
    const Period march{1'709'247'600'000, 1'711'922'400'000};
    EXPECT_EQ(period_at(month, 0, march.start_ms), march);
    EXPECT_EQ(to_string(month), "1mo@Europe/Berlin");
}

TEST(TimeZone, UtcIsTheSameUnderAllItsSpellings) {
    EXPECT_EQ(parse_window("1mo@UTC"), parse_window("1mo"));
    EXPECT_EQ(to_string(parse_window("1w@UTC").value()), "1w");
    EXPECT_EQ(to_string(parse_window("1d@UTC").value()), "1d@UTC");
}

TEST(TimeZone, RefusesWhatIsNone) {
    for (const char* text :
         {"1d@", "1mo@Europe/Paradise", "1mo@../../etc/passwd", "1mo@/etc/passwd", "1mo@Europe",
          "1mo@tzdata.zi", "1h@UTC", "30d@UTC", "@UTC"}) {
        EXPECT_FALSE(parse_window(text)) << text;
    }
}

TEST(TimeZone, NoPieceOfAFileIsTakenForOne) {
    std::ifstream file("/usr/share/zoneinfo/Europe/Berlin", std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(file), {}};
    ASSERT_TRUE(TimeZone::parse(whole));
    const size_t footer = whole.rfind('\n', whole.size() - 2);
    for (size_t size = 0; size < footer; ++size) {
        ASSERT_FALSE(TimeZone::parse(whole.substr(0, size))) << size;
    }
    std::mt19937_64 random(4);
    for (int i = 0; i < 5'000; ++i) {  // whatever the bytes: no read outside
        std::string broken = whole;
        broken[random() % 60] = static_cast<char>(random());
        broken[random() % broken.size()] = static_cast<char>(random());
        if (const auto zone = TimeZone::parse(broken)) {
            zone->offset_at(static_cast<int64_t>(random() % kEnd));
        }
    }
}

TEST(TimeZoneRule, ReadsPosixRules) {
    for (const char* rule :
         {"EST5EDT,M3.2.0,M11.1.0", "<+0330>-3:30", "UTC0", "IST-2IDT,M3.4.4/26,M10.5.0",
          "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", "AAA3BBB2,J60/0,300/1:30:15"}) {
        const Libc libc(rule);
        const auto ours = TimeZoneRule::parse(rule);
        ASSERT_TRUE(ours) << rule;
        std::mt19937_64 random(3);
        for (int i = 0; i < 20'000; ++i) {
            const auto time = static_cast<int64_t>(random() % kEnd);
            ASSERT_EQ(ours->offset_at(time), libc.local(time).tm_gmtoff) << rule << " " << time;
        }
    }
    for (const char* none :
         {"", "CET", "-1", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0",
          "CET-1CEST,M3.5.0,M10.5.0x", "<CET-1", "CET999"}) {
        EXPECT_FALSE(TimeZoneRule::parse(none)) << none;
    }
}

}  // namespace
}  // namespace ledger
