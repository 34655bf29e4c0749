// What a book that stands in for a true ledger elsewhere keeps and tells it.

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

#include "book_support.hpp"
#include "ledger/book_layout.hpp"

namespace ledger {
namespace {

constexpr Owner kOwner{0, 1, 77};
constexpr int64_t kDay = 86'400'000;
constexpr Epoch kOld = 70;
constexpr Epoch kNew = 60;

std::string name_of(const Notice::Part& part) {
    return {part.name.data(), part.name_size};
}

class BookNotices : public testing::Test {
  protected:
    Decision reserve(uint64_t id, std::vector<Claim> claims, Backing backing = Backing::debts) {
        return book.reserve(request(id), kOwner, claims, now, backing);
    }
    bool ask(uint64_t id, std::vector<Claim> claims) {
        return book.ask(request(id), kOwner, claims, now);
    }
    void hear(uint64_t id, Outcome outcome, std::vector<CounterState> states, int64_t at_us = 0,
              Epoch epoch = kNoEpochs) {
        Decision decision;
        decision.epoch = epoch;
        decision.outcome = outcome;
        decision.decided_us = at_us;
        std::copy(states.begin(), states.end(), decision.states.begin());
        book.heard(request(id), decision, now);
    }
    // As the true ledger's news, of a request that it denies.
    void observe(const Claim& claim, int64_t used, int64_t at_us) {
        ASSERT_TRUE(ask(++next_id, {claim}));
        hear(next_id, Outcome::denied, {{used, 0, 0}}, at_us);
    }
    void hear_epoch(Epoch epoch, int64_t at_us) {
        ASSERT_TRUE(ask(++next_id, {slots.claim(9, 1)}));
        hear(next_id, Outcome::denied, {{}}, at_us, epoch);
    }
    std::optional<Notice> next() { return book.next_notice(request(++next_id), now); }
    // The next debt, paid at once; 0: nothing to tell.
    int64_t pay() {
        const auto notice = next();
        if (!notice) {
            return 0;
        }
        EXPECT_TRUE(notice->debt);
        book.told(*notice);
        return notice->parts[0].actual;
    }
    int64_t used(const Meter& meter) { return book.peek(meter.claim(0, 0), now).used; }
    void die_in_a_call() { ledger::die_in_a_call(memory); }

    std::vector<std::byte> memory = std::vector<std::byte>(1024 * 1024);
    Book book = Book::format(memory.data(), memory.size()).value();
    Meter usd{"team:qa:usd:1d", Unit::nano_usd, {WindowKind::day, 0}};
    Meter slots{"team:qa:parallel", Unit::parallel, {}};
    Meter rate{"team:qa:tokens:sliding-1m", Unit::tokens, kMinute};
    int64_t now = kStart;
    uint64_t next_id = 1'000'000;
};

// ---- epochs

TEST_F(BookNotices, WithoutEpochsNothingBelongsToOne) {
    EXPECT_EQ(reserve(1, {usd.claim(100, 40)}).epoch, kNoEpochs);
    EXPECT_EQ(next()->epoch, kNoEpochs);
    ASSERT_TRUE(ask(2, {usd.claim(100, 40)}));
    hear(2, Outcome::admitted, {{40, 0, 0}}, 1, kNoEpochs);
    book.settle(request(2), {15, 0, true});
    EXPECT_EQ(next()->epoch, kNoEpochs);
}

TEST_F(BookNotices, WhatIsAdmittedBelongsToTheEpochOfItsAdmission) {
    book.set_epochs(true);
    EXPECT_EQ(reserve(1, {usd.claim(100, 40)}).epoch, kEpochUnknown);
    EXPECT_EQ(next()->epoch, kEpochUnknown);
    for (const uint64_t id : {2, 3, 4}) {
        ASSERT_TRUE(ask(id, {usd.claim(1000, 40)}));
    }
    hear(2, Outcome::admitted, {{40, 0, 0}}, 1, kOld);
    const Decision judged = book.judge_asked(request(3), std::vector{usd.claim(1000, 40)}, now);
    EXPECT_EQ(judged.epoch, kOld);  // the last one heard of
    hear(4, Outcome::admitted, {{40, 0, 0}}, 2, kNew);
    hear(3, Outcome::admitted, {{40, 0, 0}}, 3, kNew);  // too late: it was judged
    EXPECT_EQ(reserve(5, {usd.claim(1000, 40)}).epoch, kNew);
    EXPECT_EQ(reserve(5, {usd.claim(1000, 40)}).epoch, kNew);
    for (const uint64_t id : {2, 3, 4}) {
        book.settle(request(id), {15, 0, true});
        const auto notice = next();
        EXPECT_EQ(notice->id, request(id));
        EXPECT_EQ(notice->epoch, id == 4 ? kNew : kOld);
        book.told(*notice);
    }
}

TEST_F(BookNotices, AnEarlierAnswerThatComesLaterTellsNoEpoch) {
    book.set_epochs(true);
    const auto heard = [&](Epoch epoch, int64_t at_us) {
        ask(++next_id, {usd.claim(100, 0)});
        hear(next_id, Outcome::denied, {{0, 0, 0}}, at_us, epoch);
        return reserve(++next_id, {usd.claim(100, 0)}).epoch;
    };
    EXPECT_EQ(heard(kNew, 50'000'000), kNew);
    EXPECT_EQ(heard(kOld, 49'999'999), kNew);
    EXPECT_EQ(heard(kOld, 50'000'000 - kReorderedUs), kOld);  // that clock was set back
}

TEST_F(BookNotices, MoneyThatIsOwedInAnEpochThatIsOverIsForgotten) {
    book.set_epochs(true);
    hear_epoch(kOld, 1);
    reserve(1, {usd.claim(1000, 40), rate.claim(1000, 40)});
    reserve(2, {usd.claim(1000, 3)});
    const auto sent = next();  // 43 of money
    ASSERT_TRUE(sent);
    EXPECT_EQ(sent->epoch, kOld);
    reserve(3, {usd.claim(1000, 5)});
    hear_epoch(kNew, 2);
    reserve(4, {usd.claim(1000, 7)});
    book.told(*sent);                          // it does not matter any more
    book.settle(request(1), {100, 90, true});  // its row will bring it; but the rate is owed
    book.settle(request(4), {9, 0, true});
    std::map<std::string, int64_t> paid;
    while (const auto notice = next()) {
        const bool is_money = notice->parts[0].unit == Unit::nano_usd;
        EXPECT_EQ(notice->epoch, is_money ? kNew : kNoEpochs);
        paid[name_of(notice->parts[0])] += notice->parts[0].actual;
        book.told(*notice);
    }
    EXPECT_EQ(paid, (std::map<std::string, int64_t>{{usd.id.name, 9}, {rate.id.name, 90}}));
    EXPECT_EQ(book.counts().untold, 0U);
}

TEST_F(BookNotices, EpochsGoWithTheConfiguration) {
    book.set_epochs(true);
    hear_epoch(kOld, 1);
    book.set_epochs(true);
    EXPECT_EQ(reserve(1, {usd.claim(100, 0)}).epoch, kOld);
    book.set_epochs(false);
    EXPECT_EQ(reserve(2, {usd.claim(100, 0)}).epoch, kNoEpochs);
    hear_epoch(kNew, 2);
    EXPECT_EQ(reserve(3, {usd.claim(100, 0)}).epoch, kNoEpochs);
}

// ---- windows that began by another clock

TEST_F(BookNotices, AWindowKeepsTheStartThatItWasHeardToHave) {
    const Meter daily{"global:usd:1d", Unit::nano_usd, {WindowKind::fixed, kDay}};
    const auto start = [&] { return book.peek(daily.claim(0, 0), now).start_ms; };
    book.set_epochs(true);
    reserve(1, {daily.claim(100, 1)});
    EXPECT_EQ(start(), kStart);
    for (const int64_t ahead : {-3'000, 2'000}) {  // of their clock
        const int64_t theirs = now - kDay / 4 + ahead;
        ask(++next_id, {daily.claim(100, 1)});
        hear(next_id, Outcome::denied, {{1, kDay / 4 * 3, 0, theirs}}, (now + ahead) * 1000);
        EXPECT_EQ(start(), theirs);
        now += kDay / 4 * 3 - 1;
        EXPECT_EQ(start(), theirs);
        now += 1;
        EXPECT_EQ(start(), theirs + kDay);
        now += 5 * kDay;
        EXPECT_EQ(start(), theirs + 6 * kDay);
        now += kDay;
    }
    EXPECT_EQ(book.peek(usd.claim(0, 0), now).start_ms, now / kDay * kDay);
    EXPECT_EQ(book.peek(rate.claim(0, 0), now).start_ms, 0);
}

TEST_F(BookNotices, ADebtIsWhatWasHeldAndThenCorrected) {
    reserve(1, {usd.claim(100, 40), slots.claim(3, 1)});
    const auto notice = book.next_notice(request(7), now).value();
    EXPECT_EQ(notice.id, request(7));
    EXPECT_EQ(notice.at_ms, now);
    ASSERT_EQ(notice.size, 1U);
    EXPECT_EQ(name_of(notice.parts[0]), usd.id.name);
    EXPECT_EQ(notice.parts[0].unit, Unit::nano_usd);
    EXPECT_EQ(notice.parts[0].window, usd.window);
    EXPECT_EQ(notice.parts[0].actual, 40);
    book.settle(request(1), {15, 0, true});
    EXPECT_FALSE(next());  // the first is on its way
    book.told(notice);
    EXPECT_EQ(pay(), -25);
    EXPECT_EQ(pay(), 0);
    EXPECT_EQ(book.counts().untold, 0U);
}

TEST_F(BookNotices, ThereAreNoneWhenTheBookIsTheLedger) {
    reserve(1, {usd.claim(100, 40)}, Backing::none);
    book.settle(request(1), {15, 0, true});
    EXPECT_FALSE(next());
}

TEST_F(BookNotices, ARefusedRequestOwesNothing) {
    EXPECT_EQ(reserve(1, {usd.claim(100, 101)}).outcome, Outcome::denied);
    EXPECT_FALSE(next());
}

TEST_F(BookNotices, OfADeadWorkersHoldTheDebtIsWhatItHeld) {
    reserve(1, {usd.claim(100, 40)});
    book.lapse_owner({0, 2});
    EXPECT_EQ(pay(), 40);
}

TEST_F(BookNotices, ADebtIsSentAgainUnderItsIdUntilItIsPaid) {
    reserve(1, {usd.claim(100, 40)});
    const auto first = next().value();
    EXPECT_TRUE(first.first);
    reserve(2, {usd.claim(100, 5)});
    now += Book::kTellAgain;
    const auto again = next().value();
    EXPECT_EQ(again.id, first.id);
    EXPECT_FALSE(again.first);
    EXPECT_EQ(again.parts[0].actual, 40);
    book.told(first);
    book.told(again);  // both answers arrive
    EXPECT_EQ(pay(), 5);
    book.told(first);
    EXPECT_FALSE(next());
}

TEST_F(BookNotices, WhatMayNotHaveBeenHeardIsToldAgainAtOnce) {
    reserve(1, {usd.claim(100, 40)});
    const auto debt = next().value();
    book.untold(debt);
    EXPECT_EQ(next().value().id, debt.id);
    EXPECT_FALSE(next());
    ask(2, {usd.claim(100, 10)});
    hear(2, Outcome::admitted, {{50, 0, 0}});
    book.settle(request(2), {10, 0, true});
    const auto end = next().value();
    EXPECT_FALSE(next());
    book.untold(end);
    EXPECT_EQ(next().value().id, request(2));
}

TEST_F(BookNotices, DebtsSurviveAProcessThatDiedInsideACall) {
    reserve(1, {usd.claim(100, 40), rate.claim(100, 3)});
    const auto sent = next().value();
    die_in_a_call();
    now += Book::kTellAgain;
    std::map<std::string, int64_t> paid;
    for (int i = 0; i < 2; ++i) {
        const auto notice = next().value();
        paid[name_of(notice.parts[0])] += notice.parts[0].actual;
        EXPECT_EQ(notice.id == sent.id, notice.place == sent.place);
        book.told(notice);
    }
    EXPECT_EQ(paid, (std::map<std::string, int64_t>{{usd.id.name, 40}, {rate.id.name, 3}}));
    EXPECT_FALSE(next());
}

TEST_F(BookNotices, ADebtEndsWithItsWindow) {
    reserve(1, {usd.claim(100, 40)});
    now += kDay;
    reserve(2, {usd.claim(100, 7)});
    book.settle(request(1), {15, 0, true});
    EXPECT_EQ(pay(), 7);
    EXPECT_EQ(pay(), 0);
}

TEST_F(BookNotices, ACounterThatOwesIsNotReclaimed) {
    reserve(1, {usd.claim(100, 40)});
    book.settle(request(1), {15, 0, true});
    now += 2 * kDay;
    for (uint32_t i = 0; i < 2 * book.counts().counter_capacity; ++i) {
        const Meter other("key:" + std::to_string(i), Unit::nano_usd, kFixedSecond);
        ASSERT_EQ(reserve(10 + i, {other.claim(9, 0)}, Backing::none).outcome, Outcome::admitted);
        book.settle(request(10 + i), {});
        now += 1000;
    }
    EXPECT_EQ(name_of(next().value().parts[0]), usd.id.name);
}

TEST_F(BookNotices, AnAskedRequestEndsUnderItsId) {
    const std::vector<Claim> claims{usd.claim(100, 40), slots.claim(3, 1), rate.claim(100, 9)};
    ASSERT_TRUE(ask(1, claims));
    EXPECT_FALSE(ask(1, claims));
    hear(1, Outcome::admitted, {{60, 0, 0}, {2, 0, 0}, {9, 0, 0}});
    EXPECT_EQ(used(usd), 60);
    EXPECT_EQ(used(slots), 1);  // of this node
    now += 5;
    ASSERT_TRUE(book.settle(request(1), {15, 4, true}));
    EXPECT_FALSE(book.settle(request(1), {15, 4, true}));
    EXPECT_EQ(used(usd), 35);
    EXPECT_EQ(used(slots), 0);
    EXPECT_EQ(used(rate), 4);
    const auto notice = next().value();
    EXPECT_EQ(notice.id, request(1));
    EXPECT_EQ(notice.worker, kOwner.number);
    EXPECT_EQ(notice.at_ms, now - 5);
    EXPECT_TRUE(notice.first);
    ASSERT_EQ(notice.size, 3U);
    for (size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(name_of(notice.parts[i]), claims[i].counter->name);
        EXPECT_EQ(notice.parts[i].held, claims[i].amount);
        EXPECT_EQ(notice.parts[i].actual, (std::array{15, 0, 4})[i]);
    }
    EXPECT_FALSE(next());
    now += Book::kTellAgain;
    EXPECT_FALSE(next().value().first);
    book.told(notice);
    EXPECT_EQ(book.counts().holds, 0U);
    EXPECT_EQ(book.counts().untold, 0U);
    now += Book::kTellAgain;
    EXPECT_FALSE(next());
}

TEST_F(BookNotices, ADeniedRequestLeavesOnlyTheNews) {
    ask(1, {usd.claim(100, 40)});
    hear(1, Outcome::denied, {{90, 0, 0}});
    EXPECT_EQ(used(usd), 90);
    EXPECT_EQ(book.counts().holds, 0U);
    EXPECT_FALSE(next());
}

TEST_F(BookNotices, AnUnansweredRequestIsJudgedHere) {
    const std::vector<Claim> claims{usd.claim(100, 40)};
    observe(usd.claim(0, 0), 30, 1);
    ask(1, claims);
    const Decision admitted = book.judge_asked(request(1), claims, now);
    EXPECT_EQ(admitted.outcome, Outcome::admitted);
    EXPECT_EQ(admitted.states[0].used, 70);
    ask(2, claims);
    EXPECT_EQ(book.judge_asked(request(2), claims, now).outcome, Outcome::denied);
    book.settle(request(2), {0, 0, false});
    const auto release = next().value();  // the true ledger may hold it
    EXPECT_EQ(release.id, request(2));
    EXPECT_EQ(release.parts[0].actual, 0);
    EXPECT_FALSE(release.first);
    EXPECT_EQ(used(usd), 70);
    book.settle(request(1), {5, 0, true});
    EXPECT_EQ(used(usd), 35);
    const auto end = next().value();
    EXPECT_EQ(end.parts[0].held, 40);
    EXPECT_EQ(end.parts[0].actual, 5);
    EXPECT_FALSE(end.first);
}

TEST_F(BookNotices, AnIdThatHasEndedIsNotAdmittedAgain) {
    ask(1, {usd.claim(100, 40)});
    book.settle(request(1), {0, 0, false});
    EXPECT_EQ(reserve(1, {usd.claim(100, 40)}).outcome, Outcome::unavailable);
    EXPECT_FALSE(ask(1, {usd.claim(100, 40)}));
}

TEST_F(BookNotices, ADeadWorkersRequestsAreToldAsHeldOrAsNeverAdmitted) {
    const std::vector<Claim> claims{usd.claim(100, 40), slots.claim(3, 1)};
    ask(1, claims);
    hear(1, Outcome::admitted, {{40, 0, 0}, {1, 0, 0}});
    ask(2, claims);
    die_in_a_call();
    EXPECT_EQ(book.lapse_owner({kOwner.slot, 2, 78}), 2U);
    EXPECT_EQ(used(slots), 0);
    std::map<std::array<uint8_t, 16>, std::pair<int64_t, int64_t>> told;
    while (const auto notice = next()) {
        told[notice->id.bytes] = {notice->parts[0].actual, notice->parts[1].actual};
        EXPECT_EQ(notice->worker, kOwner.number);
    }
    EXPECT_EQ(told.size(), 2U);
    EXPECT_EQ(told[request(1).bytes], (std::pair<int64_t, int64_t>{40, 0}));
    EXPECT_EQ(told[request(2).bytes], (std::pair<int64_t, int64_t>{0, 0}));
}

TEST_F(BookNotices, SurviveARebuild) {
    ask(1, {usd.claim(100, 40), slots.claim(3, 1)});
    hear(1, Outcome::admitted, {{40, 0, 0}, {1, 0, 0}});
    ask(2, {slots.claim(3, 1)});
    hear(2, Outcome::admitted, {{2, 0, 0}});
    book.settle(request(1), {15, 0, true});
    die_in_a_call();
    EXPECT_EQ(used(slots), 1);
    EXPECT_EQ(book.counts().untold, 1U);
    const auto notice = next().value();
    EXPECT_EQ(notice.parts[0].actual, 15);
    book.told(notice);
    EXPECT_EQ(book.counts().holds, 1U);
}

TEST_F(BookNotices, DebtStaysOnTopOfTheTruthUntilItIsPaid) {
    reserve(1, {usd.claim(100, 40)});
    observe(usd.claim(0, 0), 50, 1'000'000);
    EXPECT_EQ(used(usd), 90);
    EXPECT_EQ(pay(), 40);
    observe(usd.claim(0, 0), 90, 2'000'000);
    EXPECT_EQ(used(usd), 90);
}

TEST_F(BookNotices, OlderNewsDoNotReplaceNewer) {
    observe(usd.claim(0, 0), 62, 50'000'002);
    observe(usd.claim(0, 0), 61, 50'000'001);
    EXPECT_EQ(used(usd), 62);
    observe(usd.claim(0, 0), 5, 50'000'002 - kReorderedUs);
    EXPECT_EQ(used(usd), 5);  // another clock: a server that took over
}

TEST_F(BookNotices, NewsSetTheEndOfAFixedWindow) {
    const Meter second{"global:usd:1s", Unit::nano_usd, kFixedSecond};
    ask(1, {second.claim(100, 1)});
    hear(1, Outcome::denied, {{80, 700, 0}});
    now += 10;
    EXPECT_EQ(book.peek(second.claim(0, 0), now).reset_ms, 690);
    now += 690;
    EXPECT_EQ(used(second), 0);
}

// The true ledger, as simple as can be: who is told counts each id once.
class Truth {
  public:
    void hear(const Notice& notice) {
        if (!ended_.insert(notice.id.bytes).second) {
            return;
        }
        const bool holds = held_.erase(notice.id.bytes) > 0;
        for (size_t i = 0; i < notice.size; ++i) {
            if (notice.parts[i].unit == Unit::nano_usd) {
                used += notice.parts[i].actual - (holds ? notice.parts[i].held : 0);
            }
        }
    }
    void reserve(const llm::RequestId& id, int64_t amount) {
        held_.insert(id.bytes);
        used += amount;
    }

    int64_t used = 0;

  private:
    std::set<std::array<uint8_t, 16>> ended_, held_;
};

// Outages, lost answers, tellers that die before they send, before they hear or not at all.
TEST_F(BookNotices, AddUpToWhatWasUsed) {
    std::mt19937_64 random(3);
    const auto below = [&random](uint64_t n) { return static_cast<int64_t>(random() % n); };
    Owner owner = kOwner;
    std::map<uint64_t, int64_t> held;
    Truth truth;
    int64_t used_in_all = 0;
    const auto tell = [&] {
        const auto notice = next();
        if (!notice || below(4) == 0) {
            return;
        }
        truth.hear(*notice);
        if (const int64_t answer = below(4); answer > 1) {
            book.told(*notice);
        } else if (answer > 0) {
            book.untold(*notice);
        }
    };
    const auto begin = [&](uint64_t id) {
        const int64_t amount = below(50);
        const std::array claims{usd.claim(kNever - 1, amount), rate.claim(kNever - 1, amount)};
        const int64_t way = below(4);
        if (way == 0) {
            book.reserve(request(id), owner, claims, now, Backing::debts);
            held[id] = amount;
            return;
        }
        ASSERT_TRUE(book.ask(request(id), owner, claims, now));
        const bool reached = way != 1 || below(2) == 0;
        if (reached) {
            truth.reserve(request(id), amount);
        }
        if (way == 1) {
            ASSERT_EQ(book.judge_asked(request(id), claims, now).outcome, Outcome::admitted);
        } else {
            hear(id, Outcome::admitted, {{truth.used, 0, 0}, {0, 0, 0}});
        }
        held[id] = amount;
    };
    for (uint64_t id = 1; id < 20'000; ++id) {
        now += below(300);
        const int64_t what = below(100);
        if (what < 30) {
            begin(id);
        } else if (what < 55 && !held.empty()) {
            const int64_t amount = below(60);
            ASSERT_TRUE(book.settle(request(held.begin()->first), {amount, amount, true}));
            used_in_all += amount;
            held.erase(held.begin());
        } else if (what < 57) {
            ++owner.pid;
            book.lapse_owner(owner);
            for (const auto& [_, amount] : held) {
                used_in_all += amount;
            }
            held.clear();
        } else if (what < 59) {
            die_in_a_call();
        } else {
            for (int64_t n = below(6); n > 0; --n) {
                tell();
            }
        }
    }
    ++owner.pid;
    book.lapse_owner(owner);
    for (const auto& [_, amount] : held) {
        used_in_all += amount;
    }
    while (book.counts().untold > 0) {
        now += 1000;
        tell();
        ASSERT_LT(now, kStart + kDay / 2);
    }
    EXPECT_EQ(truth.used, used_in_all);
    EXPECT_EQ(book.counts().holds, 0U);
    EXPECT_GT(used_in_all, 50'000);
}

TEST(CounterName, ThatIsLongEndsInItsHash) {
    const std::string long_name(300, 'x');
    const CounterId id = make_counter_id(long_name);
    EXPECT_EQ(id.name.size(), kMaxCounterName);
    EXPECT_EQ(id.name.substr(0, 40), long_name.substr(0, 40));
    EXPECT_NE(id.name, make_counter_id(long_name + "y").name);
    EXPECT_EQ(make_counter_id(std::string(kMaxCounterName, 'x')).name.back(), 'x');
}

}  // namespace
}  // namespace ledger
