#include "llm/duration.hpp"

#include <gtest/gtest.h>

namespace {

TEST(Duration, IsWrittenAsOpenAiDoes) {
    EXPECT_EQ(llm::format_duration(-5), "0ms");
    EXPECT_EQ(llm::format_duration(0), "0ms");
    EXPECT_EQ(llm::format_duration(999), "999ms");
    EXPECT_EQ(llm::format_duration(1000), "1s");
    EXPECT_EQ(llm::format_duration(1001), "2s");
    EXPECT_EQ(llm::format_duration(60'000), "1m0s");
    EXPECT_EQ(llm::format_duration(3'600'000), "1h0m0s");
    EXPECT_EQ(llm::format_duration(90'061'000), "25h1m1s");
}

}  // namespace
