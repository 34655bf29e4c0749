#include "ledger/book.hpp"

#include <gtest/gtest.h>

#include <list>
#include <memory>

#include "book_support.hpp"
#include "ledger/book_layout.hpp"

namespace ledger {
namespace {

constexpr int64_t kTtl = Book::kDefaultHoldTtl;
constexpr Owner kMe{0, 100};

class BookTest : public testing::Test {
  protected:
    Book make(size_t bytes = 256 * 1024) {
        memory_.assign(bytes, std::byte{0xa5});
        return Book::format(memory_.data(), memory_.size(), kTtl).value();
    }
    BookHeader& header() {
        void* start = memory_.data();
        size_t bytes = memory_.size();
        return *static_cast<BookHeader*>(std::align(kLine, sizeof(BookHeader), start, bytes));
    }
    Decision reserve(uint64_t n, std::initializer_list<Claim> claims, int64_t now = kStart) {
        return book.reserve(request(n), kMe, {claims.begin(), claims.size()}, now);
    }
    int64_t used(const Meter& meter, int64_t now = kStart) {
        return book.peek(meter.claim(0, 0), now).used;
    }

    const Meter money{"global:usd:1s", Unit::nano_usd, kFixedSecond};
    const Meter tokens{"key:tokens:sliding-1m", Unit::tokens, kMinute};
    const Meter requests{"key:requests:sliding-1m", Unit::requests, kMinute};
    const Meter parallel{"key:parallel", Unit::parallel, {}};
    const Meter lifetime{"key:usd", Unit::nano_usd, {}};

    std::vector<std::byte> memory_;
    Book book = make();
};

TEST_F(BookTest, HoldsThenSettlesToWhatWasUsed) {
    const Decision decision = reserve(1, {money.claim(100, 60), tokens.claim(1000, 500),
                                          requests.claim(10, 1), parallel.claim(2, 1)});
    ASSERT_EQ(decision.outcome, Outcome::admitted);
    EXPECT_TRUE(decision.held);
    EXPECT_EQ(decision.states[0].used, 60);
    EXPECT_EQ(decision.states[0].reset_ms, 1000);
    EXPECT_EQ(decision.states[1].used, 500);
    EXPECT_EQ(decision.states[2].used, 1);
    EXPECT_EQ(decision.states[3].used, 1);
    EXPECT_EQ(decision.states[3].reset_ms, 0);

    EXPECT_TRUE(book.settle(request(1), {25, 130, true}));
    EXPECT_EQ(used(money), 25);
    EXPECT_EQ(used(tokens), 130);
    EXPECT_EQ(used(requests), 1);
    EXPECT_EQ(used(parallel), 0);
    EXPECT_FALSE(book.settle(request(1), {25, 130, true}));
    EXPECT_EQ(used(money), 25);
    EXPECT_EQ(book.counts().holds, 0u);
}

TEST_F(BookTest, DeniesAllOrNothingAndNamesTheFirstThatDidNotFit) {
    const Decision decision = reserve(1, {requests.claim(10, 1), money.claim(100, 101),
                                          tokens.claim(5, 6), parallel.claim(0, 1)});
    EXPECT_EQ(decision.outcome, Outcome::denied);
    EXPECT_FALSE(decision.held);
    EXPECT_EQ(decision.denied_claim, 1u);
    EXPECT_EQ(decision.states[0].retry_ms, 0);
    EXPECT_EQ(decision.states[1].retry_ms, -1);
    for (const Meter* meter : {&money, &tokens, &requests, &parallel}) {
        EXPECT_EQ(used(*meter), 0);
    }
    EXPECT_FALSE(book.settle(request(1), {}));
}

TEST_F(BookTest, SaysWhenToRetry) {
    reserve(1, {money.claim(100, 70), parallel.claim(1, 1), lifetime.claim(100, 70)});
    const auto retry = [&](const Claim& claim) {
        return reserve(2, {claim}, kStart + 400).states[0].retry_ms;
    };
    EXPECT_EQ(retry(money.claim(100, 31)), 600);
    EXPECT_EQ(retry(parallel.claim(1, 1)), 0);
    EXPECT_EQ(retry(parallel.claim(0, 1)), -1);
    EXPECT_EQ(retry(lifetime.claim(100, 31)), -1);
}

TEST_F(BookTest, ClaimsOnOneCounterAddUp) {
    const Decision denied =
        reserve(1, {requests.claim(9, 1), money.claim(120, 60), money.claim(100, 60)});
    EXPECT_EQ(denied.outcome, Outcome::denied);
    EXPECT_EQ(denied.denied_claim, 2u);
    EXPECT_EQ(reserve(1, {money.claim(100, 60), money.claim(120, 60)}).denied_claim, 0u);
    EXPECT_EQ(used(money), 0);
    const Decision decision = reserve(1, {money.claim(100, 60), money.claim(100, 40)});
    ASSERT_EQ(decision.outcome, Outcome::admitted);
    EXPECT_EQ(decision.states[0].used, 100);
    EXPECT_TRUE(book.settle(request(1), {7, 0, true}));
    EXPECT_EQ(used(money), 14);
}

TEST_F(BookTest, AHeldIdIsAdmittedAgainAndAddsNothing) {
    reserve(1, {money.claim(100, 60)});
    const Decision again = reserve(1, {money.claim(100, 60)});
    EXPECT_EQ(again.outcome, Outcome::admitted);
    EXPECT_TRUE(again.held);
    EXPECT_EQ(again.states[0].used, 60);
    EXPECT_EQ(book.counts().holds, 1u);
}

TEST_F(BookTest, DebtIsKeptAndALateSettleCreditsNoNewerWindow) {
    reserve(1, {money.claim(100, 10)});
    reserve(2, {money.claim(100, 80)});
    book.settle(request(1), {500, 0, true});
    EXPECT_EQ(used(money), 580);
    EXPECT_EQ(reserve(3, {money.claim(100, 0)}).outcome, Outcome::denied);

    reserve(4, {money.claim(100, 30)}, kStart + 1000);
    EXPECT_TRUE(book.settle(request(2), {0, 0, true}));
    EXPECT_EQ(used(money, kStart + 1000), 30);
}

TEST_F(BookTest, ChangingALimitResetsNothing) {
    reserve(1, {money.claim(100, 60)});
    EXPECT_EQ(reserve(2, {money.claim(50, 1)}).outcome, Outcome::denied);
    EXPECT_EQ(reserve(3, {money.claim(61, 1)}).outcome, Outcome::admitted);
}

TEST_F(BookTest, ADueHoldIsChargedAsHeldAndGivesItsSlotBack) {
    reserve(1, {lifetime.claim(100, 60), parallel.claim(1, 1)});
    EXPECT_EQ(book.lapse(kStart + kTtl - 1, 10), 0u);
    EXPECT_EQ(reserve(2, {parallel.claim(1, 1)}, kStart + kTtl).outcome, Outcome::admitted);
    EXPECT_FALSE(book.settle(request(1), {1, 1, true}));
    EXPECT_EQ(used(lifetime, kStart + kTtl), 60);
}

TEST_F(BookTest, ARenewedHoldStays) {
    reserve(1, {parallel.claim(5, 1)});
    reserve(2, {parallel.claim(5, 1)}, kStart + 1);
    EXPECT_TRUE(book.renew(request(1), kStart + 1000));
    EXPECT_FALSE(book.renew(request(9), kStart + 1000));
    EXPECT_EQ(book.lapse(kStart + kTtl + 500, 10), 1u);
    EXPECT_FALSE(book.settle(request(2), {}));
    EXPECT_TRUE(book.settle(request(1), {}));
}

TEST_F(BookTest, OnlyDeadPredecessorsInTheSlotLapse) {
    const Claim claim = parallel.claim(9, 1);
    book.reserve(request(1), {3, 100}, {&claim, 1}, kStart);
    book.reserve(request(2), {3, 101}, {&claim, 1}, kStart);
    book.reserve(request(3), {4, 100}, {&claim, 1}, kStart);
    EXPECT_EQ(book.lapse_owner({3, 101}), 1u);
    EXPECT_EQ(used(parallel), 2);
    EXPECT_FALSE(book.settle(request(1), {}));
}

TEST_F(BookTest, AShorterTtlHoldsForOldHoldsToo) {
    reserve(1, {parallel.claim(9, 1)});
    book.set_hold_ttl(1000);
    reserve(2, {parallel.claim(9, 1)}, kStart + 1);
    EXPECT_EQ(book.lapse(kStart + 1000, 10), 0u);
    EXPECT_EQ(book.lapse(kStart + 1001, 10), 2u);
    EXPECT_EQ(used(parallel), 0);
}

TEST_F(BookTest, ASmallStepBackOfTheClockChangesNothing) {
    const Meter day{"global:usd:1d@UTC", Unit::nano_usd, {WindowKind::day, 0}};
    const int64_t midnight = (kStart / 86'400'000 + 1) * 86'400'000;
    reserve(1, {day.claim(100, 90), money.claim(100, 90)}, midnight);
    const Decision decision = reserve(2, {day.claim(100, 20), money.claim(100, 20)}, midnight - 5);
    EXPECT_EQ(decision.outcome, Outcome::denied);
    EXPECT_EQ(decision.states[0].reset_ms, 86'400'000);
    EXPECT_EQ(used(day, midnight), 90);
}

TEST_F(BookTest, AClockThatWasFarAheadLeavesNothingStuck) {
    const int64_t wrong = kStart + 400 * 86'400'000LL;
    const Meter month{"global:usd:1mo", Unit::nano_usd, {WindowKind::month, 0}};
    reserve(
        1,
        {money.claim(100, 90), month.claim(100, 90), tokens.claim(100, 90), parallel.claim(9, 1)},
        wrong);
    const Decision decision = reserve(
        2, {money.claim(100, 0), tokens.claim(100, 0), parallel.claim(9, 1), month.claim(100, 20)});
    EXPECT_EQ(decision.denied_claim, 3u);
    EXPECT_EQ(decision.states[0].used, 90);
    EXPECT_EQ(decision.states[0].reset_ms, 1000);
    EXPECT_EQ(decision.states[1].used, 90);
    EXPECT_EQ(decision.states[3].used, 90);
    EXPECT_EQ(used(money, kStart + 1000), 0);
    EXPECT_EQ(used(tokens, kStart + 66'000), 0);
    EXPECT_EQ(used(month, kStart + 31 * 86'400'000LL), 0);
    book.lapse(kStart, 10);
    EXPECT_EQ(book.lapse(kStart + 32 * 86'400'000LL, 10), 1u);
    EXPECT_EQ(used(parallel), 0);
}

TEST_F(BookTest, AmountsAtTheEdgeOfTheirTypeDoNotWrap) {
    reserve(1, {lifetime.claim(kNever, kNever - 1)});
    EXPECT_EQ(reserve(2, {lifetime.claim(kNever, 2)}).outcome, Outcome::denied);
    const Decision sum = reserve(3, {tokens.claim(5, 3), tokens.claim(kNever, kNever - 1)});
    EXPECT_EQ(sum.outcome, Outcome::denied);
    EXPECT_EQ(sum.states[1].retry_ms, -1);
    reserve(4, {lifetime.claim(kNever, 0), tokens.claim(5, 3)});
    book.settle(request(1), {kNever, 0, true});
    book.settle(request(4), {5, -7, true});
    EXPECT_EQ(used(lifetime), kNever);
    EXPECT_EQ(used(tokens), 0);
}

TEST_F(BookTest, AFullTableReclaimsIdleCountersOnly) {
    book = make(32 * 1024);
    const uint32_t capacity = book.counts().counter_capacity;
    std::list<Meter> meters;
    const auto fill = [&](Unit unit, const Window& window, uint32_t n, int64_t now) {
        const Meter& meter = meters.emplace_back(std::to_string(meters.size()), unit, window);
        return reserve(n, {meter.claim(9, 1)}, now).outcome;
    };
    for (uint32_t n = 0; n < capacity; ++n) {  // settled, some of them for good
        ASSERT_EQ(fill(Unit::nano_usd, n < 5 ? Window{} : kFixedSecond, n, kStart),
                  Outcome::admitted);
        book.settle(request(n), {1, 1, true});
    }
    EXPECT_EQ(fill(Unit::nano_usd, kFixedSecond, 1000, kStart), Outcome::unavailable);
    EXPECT_EQ(book.counts().holds, 0u);

    uint32_t more = 0;
    while (more < book.counts().hold_capacity &&
           fill(Unit::parallel, {}, 2000 + more, kStart + 1000) == Outcome::admitted) {
        ++more;
    }
    EXPECT_EQ(more, book.counts().hold_capacity);
    EXPECT_EQ(fill(Unit::parallel, {}, 3000, kStart + 1000), Outcome::unavailable);  // no hold free
    EXPECT_EQ(book.counts().counters, capacity);
    uint32_t kept = 0;
    for (const Meter& meter : meters) {
        kept += used(meter, kStart + 1000) == 1 ? 1 : 0;
    }
    EXPECT_EQ(kept, 5 + more);
}

TEST_F(BookTest, ARequestsOwnCountersAreNotReclaimedForEachOther) {
    book = make(32 * 1024);
    const uint32_t capacity = book.counts().counter_capacity;
    std::list<Meter> meters;
    std::vector<Claim> claims;
    for (uint32_t n = 0; n < 3 * capacity; n += 12) {
        claims.clear();
        for (int i = 0; i < 12; ++i) {
            claims.push_back(
                meters.emplace_back(std::to_string(meters.size()), Unit::parallel, Window{})
                    .claim(1, 1));
        }
        const Decision decision = book.reserve(request(n), kMe, claims, kStart);
        ASSERT_EQ(decision.outcome, Outcome::admitted);
        for (const Claim& claim : claims) {
            ASSERT_EQ(book.peek(claim, kStart).used, 1);
        }
        book.settle(request(n), {});
    }
}

TEST_F(BookTest, TooManyClaimsAreRefused) {
    const std::vector<Claim> claims(kMaxClaims + 1, money.claim(100, 1));
    EXPECT_EQ(book.reserve(request(1), kMe, claims, kStart).outcome, Outcome::unavailable);
    EXPECT_EQ(book.reserve(request(2), kMe, {claims.data(), kMaxClaims}, kStart).outcome,
              Outcome::admitted);
}

TEST_F(BookTest, AttachFindsWhatFormatLaidOut) {
    reserve(1, {money.claim(100, 60)});
    auto again = Book::attach(memory_.data(), memory_.size());
    ASSERT_TRUE(again);
    EXPECT_TRUE(again->settle(request(1), {5, 0, true}));
    EXPECT_EQ(used(money), 5);

    EXPECT_FALSE(Book::attach(memory_.data(), memory_.size() - 64));
    header().version += 1;
    EXPECT_FALSE(Book::attach(memory_.data(), memory_.size()));
    header().version -= 1;
    header().magic = 0;
    EXPECT_FALSE(Book::attach(memory_.data(), memory_.size()));
    std::vector<std::byte> small(4096);
    EXPECT_FALSE(Book::format(small.data(), small.size()));
    EXPECT_FALSE(Book::attach(small.data(), 16));
}

TEST_F(BookTest, ARegionFoundBusyIsRebuiltFromItsRecords) {
    reserve(1, {money.claim(100, 10), tokens.claim(100, 10), parallel.claim(9, 1)});
    reserve(2, {money.claim(100, 20), parallel.claim(9, 1)});
    reserve(3, {money.claim(100, 30), parallel.claim(9, 1)});
    book.settle(request(2), {5, 0, true});

    BookHeader& torn = header();
    auto* buckets = reinterpret_cast<uint32_t*>(&torn + 1);
    std::fill_n(buckets, torn.counter_bucket_count + torn.hold_bucket_count, 0);
    torn.free_counter = torn.free_hold = 0;
    torn.by_deadline = torn.ended = {0, 0};
    torn.counters = torn.holds = 77;
    torn.busy = 1;

    EXPECT_EQ(used(money, kStart + 10), 45);
    EXPECT_EQ(used(tokens, kStart + 10), 10);
    EXPECT_EQ(used(parallel, kStart + 10), 2);
    EXPECT_EQ(book.counts().holds, 2u);
    EXPECT_EQ(book.counts().counters, 3u);
    EXPECT_EQ(torn.busy, 0u);
    EXPECT_TRUE(book.settle(request(1), {1, 1, true}));
    EXPECT_EQ(used(money, kStart + 10), 36);
    EXPECT_EQ(book.lapse(kStart + kTtl, 9), 1u);
    EXPECT_EQ(used(parallel, kStart + kTtl), 0);
}

}  // namespace
}  // namespace ledger
