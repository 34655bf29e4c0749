#include "llm/usd.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace llm {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(Usd, ParsesPerMillion) {
    EXPECT_EQ(parse_usd_per_million("0.15"), 150'000'000'000);
    EXPECT_EQ(parse_usd_per_million("3"), 3'000'000'000'000);
    EXPECT_EQ(parse_usd_per_million("0"), 0);
    EXPECT_EQ(parse_usd_per_million("0.000000000001"), 1);
    EXPECT_EQ(parse_usd_per_million("1000000"), kMaxTokenRate);
    for (const char* wrong :
         {"", "-1", "-0", "+1", "1e3", ".5", "5.", "1,5", "0x1", " 1", "1 ", "1000000.1",
          "0.0000000000001", "99999999999999999999", "abc", "$1", "1.2.3"}) {
        EXPECT_EQ(parse_usd_per_million(wrong), std::nullopt) << wrong;
    }
}

TEST(Usd, ParsesAmounts) {
    EXPECT_EQ(parse_usd("1000"), 1'000'000'000'000);
    EXPECT_EQ(parse_usd("0.5"), 500'000'000);
    EXPECT_EQ(parse_usd("12.34"), 12'340'000'000);
    EXPECT_EQ(parse_usd("0.000000001"), 1);
    EXPECT_EQ(parse_usd("0.0000000010"), 1);
    EXPECT_EQ(parse_usd("007"), 7'000'000'000);
    EXPECT_EQ(parse_usd("9000000000"), 9'000'000'000'000'000'000);
    for (const char* wrong : {"", ".", "-1", "1e3", "9000000000.000000001", "10000000000",
                              "0.0000000001", "99999999999999999999999999", "1 000", "usd"}) {
        EXPECT_EQ(parse_usd(wrong), std::nullopt) << wrong;
    }
    EXPECT_EQ(parse_usd(std::string(200, '0') + "1"), std::nullopt);
}

TEST(Usd, Formats) {
    EXPECT_EQ(format_usd(0), "0");
    EXPECT_EQ(format_usd(123'000), "0.000123");
    EXPECT_EQ(format_usd(1), "0.000000001");
    EXPECT_EQ(format_usd(12'000'000'000), "12");
    EXPECT_EQ(format_usd(10'500'000'000), "10.5");
    EXPECT_EQ(format_usd(-500'000'000), "-0.5");
    EXPECT_EQ(format_usd(kMax), "9223372036.854775807");
    EXPECT_EQ(format_usd(std::numeric_limits<int64_t>::min()), "-9223372036.854775808");
}

TEST(Usd, FormattedAmountsParseBack) {
    std::mt19937_64 random(3);
    for (int i = 0; i < 10'000; ++i) {
        const auto amount =
            static_cast<NanoUsd>((random() >> (2 + random() % 60)) % 9'000'000'000'000'000'000u);
        EXPECT_EQ(parse_usd(format_usd(amount)), amount);
    }
}

}  // namespace
}  // namespace llm
