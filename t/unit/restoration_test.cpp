#include "module/restoration.hpp"

#include <gtest/gtest.h>

namespace module {
namespace {

using Step = Restoration::Step;

constexpr ledger::Epoch kEpoch = 77;

class RestorationTest : public testing::Test {
  protected:
    void look(ledger::Epoch epoch, bool leads = true) {
        ASSERT_EQ(restoration.step(), Step::look);
        restoration.redis_answered({leads, epoch, 0}, now);
    }
    // Until the next look.
    void wait() {
        ASSERT_EQ(restoration.step(), Step::wait);
        now = std::max(now, restoration.due_ms());
        restoration.waited();
    }
    void read(size_t sums, bool is_last) {
        ASSERT_EQ(restoration.step(), Step::read);
        restoration.page_read(sums, is_last);
    }
    void answer(Step step, ledger::Epoch epoch, bool leads = true) {
        ASSERT_EQ(restoration.step(), step);
        restoration.redis_answered({leads, epoch, 0}, now);
    }
    void finish() {
        ASSERT_EQ(restoration.step(), Step::finish);
        restoration.finished(now);
    }
    // From a look that finds nothing missing to the next reading: how long that took.
    int64_t until_reading() {
        const int64_t begin = now;
        while (restoration.step() != Step::read) {
            wait();
            look(kEpoch);
        }
        return now - begin;
    }

    Restoration restoration;
    int64_t now = 5'000;
};

TEST_F(RestorationTest, WithoutAnEpochAllPagesAreWrittenAndThenItBegins) {
    look(0);
    EXPECT_EQ(restoration.epoch(), 0U);
    EXPECT_TRUE(restoration.at_first_page());
    read(500, false);
    answer(Step::write, 0);
    EXPECT_FALSE(restoration.at_first_page());
    read(0, false);  // a range of counters of which none is wanted
    read(20, true);
    answer(Step::write, 0);
    answer(Step::begin, kEpoch);
    EXPECT_EQ(restoration.epoch(), kEpoch);
    finish();
    EXPECT_EQ(restoration.step(), Step::wait);
    EXPECT_EQ(restoration.due_ms(), now + Restoration::kLookMs);
}

TEST_F(RestorationTest, WithNothingToBringBackItBeginsAtOnce) {
    look(0);
    read(0, true);
    answer(Step::begin, kEpoch);
    finish();
}

TEST_F(RestorationTest, AnEpochThatOthersBeganIsReadOnce) {
    look(kEpoch);
    EXPECT_EQ(restoration.epoch(), kEpoch);
    read(3, true);
    answer(Step::write, kEpoch);
    finish();
    EXPECT_EQ(until_reading(), Restoration::kFirstReadMs);
}

TEST_F(RestorationTest, LateRowsAreLookedForLessAndLessOften) {
    look(kEpoch);
    read(0, true);
    finish();
    int64_t expected = Restoration::kFirstReadMs;
    for (int i = 0; i < 12; ++i) {
        EXPECT_NEAR(until_reading(), expected, Restoration::kLookMs);
        read(0, true);
        finish();
        expected = std::min(2 * expected, Restoration::kLastReadMs);
    }
    EXPECT_EQ(expected, Restoration::kLastReadMs);
    until_reading();
    read(1, true);
    answer(Step::write, kEpoch);
    finish();
    EXPECT_NEAR(until_reading(), Restoration::kFirstReadMs, Restoration::kLookMs);
}

TEST_F(RestorationTest, ALostEpochIsNoticedAtTheNextLook) {
    look(kEpoch);
    read(0, true);
    finish();
    wait();
    look(0);
    EXPECT_EQ(restoration.step(), Step::read);
    EXPECT_EQ(restoration.epoch(), 0U);
    EXPECT_TRUE(restoration.at_first_page());
}

TEST_F(RestorationTest, OneWhoDoesNotLeadOnlyLooks) {
    for (const ledger::Epoch epoch : {ledger::Epoch{0}, kEpoch}) {
        look(epoch, false);
        EXPECT_EQ(restoration.due_ms(), now + Restoration::kLookMs);
        wait();
    }
}

TEST_F(RestorationTest, WhoLosesTheLeadOrTheEpochOnTheWayStartsOver) {
    for (const bool leads : {true, false}) {
        for (const bool begins : {true, false}) {
            look(0);
            read(begins ? 0 : 5, begins);
            if (begins && leads) {
                answer(Step::begin, kEpoch + 1);  // somebody else's
                finish();
                EXPECT_EQ(restoration.epoch(), kEpoch + 1);
            } else {
                answer(begins ? Step::begin : Step::write, kEpoch, leads);
            }
            wait();
        }
    }
    look(0);
    EXPECT_TRUE(restoration.at_first_page());
}

TEST_F(RestorationTest, RedisThatDoesNotAnswerIsAskedAgain) {
    look(0);
    read(5, false);
    restoration.redis_failed(now);
    EXPECT_EQ(restoration.due_ms(), now + Restoration::kLookMs);
    wait();
    look(0);
    EXPECT_TRUE(restoration.at_first_page());
}

TEST_F(RestorationTest, PostgresIsAskedLessAndLessOftenUntilItAnswers) {
    int64_t last = 0;
    for (int i = 0; i < 10; ++i) {
        look(0);
        restoration.postgres_failed(now);
        EXPECT_GE(restoration.due_ms() - now, last);
        last = restoration.due_ms() - now;
        wait();
    }
    EXPECT_EQ(last, Restoration::kLongestRetryMs);
    look(0);
    read(0, true);
    answer(Step::begin, kEpoch);
    finish();
    wait();
    look(0);
    restoration.postgres_failed(now);
    EXPECT_EQ(restoration.due_ms() - now, Restoration::kLookMs);
}

}  // namespace
}  // namespace module
