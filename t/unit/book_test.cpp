#include "ledger/book.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <list>
#include <map>
#include <random>
#include <thread>

#include "ledger/book_layout.hpp"

namespace ledger {
namespace {

constexpr int64_t kStart = 1'750'000'000'000;  // 2025-06-15, a Sunday
constexpr int64_t kTtl = Book::kDefaultHoldTtl;
constexpr int64_t kRaceTtl = 15'000;  // short, so that holds lapse all the time
constexpr Owner kMe{0, 100};

llm::RequestId request(uint64_t n) {
    llm::RequestId id;
    std::memcpy(id.bytes.data() + 8, &n, sizeof(n));
    return id;
}

struct Meter {
    Meter(std::string name, Unit u, Window w)
        : id(make_counter_id(std::move(name))), unit(u), window(w) {}
    Claim claim(int64_t limit, int64_t amount) const { return {&id, unit, window, limit, amount}; }

    CounterId id;
    Unit unit;
    Window window;
};

const Window kFixedSecond{WindowKind::fixed, 1000};
const Window kMinute{WindowKind::sliding, 60'000};

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

TEST_F(BookTest, ObserveSetsTheTruthBelowOwnHolds) {
    reserve(1, {money.claim(1000, 60), tokens.claim(1000, 60), parallel.claim(5, 1)});
    for (const Meter* meter : {&money, &tokens, &parallel}) {
        book.observe(meter->claim(0, 0), {300, 700, 0}, kStart + 10);
    }
    EXPECT_EQ(used(money, kStart + 10), 360);
    EXPECT_EQ(used(tokens, kStart + 10), 360);
    EXPECT_EQ(used(parallel, kStart + 10), 1);
    EXPECT_EQ(book.peek(money.claim(0, 0), kStart + 10).reset_ms, 700);
    book.settle(request(1), {10, 10, true});
    EXPECT_EQ(used(money, kStart + 10), 310);
    EXPECT_EQ(used(tokens, kStart + 10), 310);
    book.observe(tokens.claim(0, 0), {40, 0, 0}, kStart + 10);
    EXPECT_EQ(used(tokens, kStart + 10), 40);
    EXPECT_EQ(used(money, kStart + 710), 0);
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
    torn.free_counter = torn.free_hold = torn.oldest = torn.newest = 0;
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

// ---- against a simple model

class Model {
  public:
    struct Charge {
        size_t meter;
        int64_t period;
        int64_t amount;
    };
    struct Held {
        uint64_t id;
        Owner owner;
        int64_t deadline;
        std::vector<Charge> charges;
    };

    explicit Model(const std::vector<Meter>& meters) : meters_(meters), states_(meters.size()) {}

    // The window that counts at t: its start, or the slice.
    int64_t period(size_t meter, int64_t t) {
        const Window& window = meters_[meter].window;
        switch (window.kind) {
            case WindowKind::sliding:
                return t / slice_length(window.length_ms);
            case WindowKind::fixed:
                return fixed_start(states_[meter].start, window.length_ms, t);
            case WindowKind::none:
                return 0;
            default:
                return calendar_start(window.kind, t);
        }
    }

    void touch(size_t meter, int64_t now) {
        int64_t& start = states_[meter].start;
        start = start < 0 ? now : fixed_start(start, meters_[meter].window.length_ms, now);
    }

    int64_t value(size_t meter, int64_t t) {
        const auto& charged = states_[meter].charged;
        const Window& window = meters_[meter].window;
        int64_t sum = 0;
        if (window.kind == WindowKind::sliding) {
            const int64_t slice_ms = slice_length(window.length_ms);
            for (const auto& [slice, amount] : charged) {
                sum += (slice + 1) * slice_ms - 1 > t - window.length_ms ? amount : 0;
            }
            return sum;
        }
        const auto found = charged.find(period(meter, t));
        return found == charged.end() ? 0 : found->second;
    }

    void lapse_due(int64_t now, size_t most) {
        for (; most > 0 && !holds.empty() && holds.front().deadline <= now; --most) {
            lapse(holds.begin());
        }
    }

    void lapse_owner(Owner live) {
        for (auto held = holds.begin(); held != holds.end();) {
            const auto next = std::next(held);
            if (held->owner.slot == live.slot && held->owner.pid != live.pid) {
                lapse(held);
            }
            held = next;
        }
    }

    std::list<Held>::iterator find(uint64_t id) {
        return std::find_if(holds.begin(), holds.end(), [id](const Held& h) { return h.id == id; });
    }

    static std::map<size_t, int64_t> sums(const std::vector<size_t>& on,
                                          const std::vector<Claim>& claims) {
        std::map<size_t, int64_t> sums;
        for (size_t i = 0; i < on.size(); ++i) {
            sums[on[i]] += claims[i].amount;
        }
        return sums;
    }

    // The index of the first claim that does not fit, or nothing and all are held.
    std::optional<size_t> reserve(uint64_t id, Owner owner, const std::vector<size_t>& on,
                                  const std::vector<Claim>& claims, int64_t now) {
        const auto wanted = sums(on, claims);
        for (const size_t meter : on) {
            touch(meter, now);
        }
        for (size_t i = 0; i < on.size(); ++i) {
            if (value(on[i], now) + wanted.at(on[i]) > claims[i].limit) {
                return i;
            }
        }
        Held held{id, owner, now + kRaceTtl, {}};
        for (size_t i = 0; i < on.size(); ++i) {
            held.charges.push_back({on[i], period(on[i], now), claims[i].amount});
            states_[on[i]].charged[period(on[i], now)] += claims[i].amount;
        }
        holds.push_back(std::move(held));
        return std::nullopt;
    }

    void settle(std::list<Held>::iterator held, const Actual& actual) {
        for (const Charge& charge : held->charges) {
            int64_t used = 0;
            switch (meters_[charge.meter].unit) {
                case Unit::nano_usd:
                    used = actual.nano_usd;
                    break;
                case Unit::tokens:
                    used = actual.tokens;
                    break;
                case Unit::requests:
                    used = actual.counts_as_request ? 1 : 0;
                    break;
                case Unit::parallel:
                    break;
            }
            states_[charge.meter].charged[charge.period] += used - charge.amount;
        }
        holds.erase(held);
    }

    std::list<Held> holds;  // by deadline

  private:
    struct State {
        int64_t start = -1;
        std::map<int64_t, int64_t> charged;  // by window
    };

    static int64_t fixed_start(int64_t start, int64_t length, int64_t t) {
        if (start < 0 || length == 0) {
            return start;
        }
        return t < start ? start : start + (t - start) / length * length;
    }

    static int64_t calendar_start(WindowKind kind, int64_t t) {
        const time_t seconds = t / 1000;
        std::tm tm{};
        gmtime_r(&seconds, &tm);
        tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
        if (kind == WindowKind::week) {
            tm.tm_mday -= (tm.tm_wday + 6) % 7;
        } else if (kind == WindowKind::month) {
            tm.tm_mday = 1;
        }
        return int64_t{timegm(&tm)} * 1000;
    }

    void lapse(std::list<Held>::iterator held) {
        for (const Charge& charge : held->charges) {
            if (meters_[charge.meter].unit == Unit::parallel) {
                states_[charge.meter].charged[charge.period] -= charge.amount;
            }
        }
        holds.erase(held);
    }

    const std::vector<Meter>& meters_;
    std::vector<State> states_;
};

class Race {
  public:
    Race(Book& book, uint64_t seed) : book_(book), random_(seed) {}

    void step() {
        move_clock();
        const uint64_t what = below(100);
        if (what < 55) {
            reserve();
        } else if (what < 85) {
            settle();
        } else if (what < 92) {
            renew();
        } else if (what < 96) {
            const size_t most = below(6);
            book_.lapse(now_, most);
            model_.lapse_due(now_, most);
        } else if (what < 97) {
            crash();
        } else {
            compare(below(meters_.size()));
        }
        ASSERT_EQ(book_.counts().holds, model_.holds.size());
    }

    void compare_all() {
        for (size_t i = 0; i < meters_.size(); ++i) {
            compare(i);
        }
    }

    int admitted = 0;
    int denied = 0;

  private:
    uint64_t below(uint64_t n) { return random_() % n; }

    void move_clock() {
        const uint64_t what = below(1000);
        if (what < 700) {
            now_ += static_cast<int64_t>(below(40));
        } else if (what < 710) {
            now_ += static_cast<int64_t>(below(40'000));
        } else if (what < 712) {
            now_ += static_cast<int64_t>(below(20 * 86'400'000ULL));
        }
    }

    // What a worker with a slightly late clock would say; the book goes by the latest time it has
    // seen.
    int64_t said() {
        return seen_ == now_ && below(4) == 0 ? now_ - static_cast<int64_t>(below(50))
                                              : (seen_ = now_);
    }

    void reserve() {
        const uint64_t id =
            below(20) == 0 && !model_.holds.empty() ? model_.holds.back().id : ++next_id_;
        std::vector<size_t> on;
        std::vector<Claim> claims;
        for (size_t n = below(6); n > 0; --n) {
            on.push_back(below(meters_.size()));
            const Meter& meter = meters_[on.back()];
            const bool one = meter.unit == Unit::requests || meter.unit == Unit::parallel;
            const auto limit = static_cast<int64_t>(one ? 3 + below(12) : 200 + below(3000));
            claims.push_back(meter.claim(limit, one ? 1 : static_cast<int64_t>(below(300))));
        }
        const Owner owner = owners_[below(owners_.size())];
        const Decision decision = book_.reserve(request(id), owner, claims, said());
        model_.lapse_due(now_, 4);
        if (model_.find(id) != model_.holds.end()) {
            ASSERT_EQ(decision.outcome, Outcome::admitted);
            return;
        }
        const auto refused = model_.reserve(id, owner, on, claims, now_);
        ++(refused ? denied : admitted);
        ASSERT_EQ(decision.outcome, refused ? Outcome::denied : Outcome::admitted);
        ASSERT_EQ(decision.held, !refused);
        ASSERT_EQ(decision.denied_claim, refused.value_or(0));
        const auto wanted = Model::sums(on, claims);
        for (size_t i = 0; i < on.size(); ++i) {
            const CounterState& state = decision.states[i];
            ASSERT_EQ(state.used, model_.value(on[i], now_));
            check_times(on[i], claims[i].limit, refused ? wanted.at(on[i]) : 0, state);
            if (!refused) {
                ASSERT_LE(state.used, claims[i].limit);
            }
        }
    }

    // reset and retry are the first moments at which the model agrees.
    void check_times(size_t meter, int64_t limit, int64_t wanted, const CounterState& state) {
        const auto fits = [&](int64_t t) { return model_.value(meter, t) + wanted <= limit; };
        const WindowKind kind = meters_[meter].window.kind;
        if (kind == WindowKind::none) {
            ASSERT_EQ(state.reset_ms, 0);
            return;
        }
        ASSERT_EQ(model_.value(meter, now_ + state.reset_ms), 0);
        if (state.used != 0) {
            ASSERT_NE(model_.value(meter, now_ + state.reset_ms - 1), 0);
        }
        if (state.retry_ms == -1) {
            ASSERT_GT(wanted, limit);
            return;
        }
        ASSERT_TRUE(fits(now_ + state.retry_ms));
        if (state.retry_ms > 0) {
            ASSERT_FALSE(fits(now_ + state.retry_ms - 1));
        }
    }

    std::list<Model::Held>::iterator any_hold() {
        return std::next(model_.holds.begin(), static_cast<int64_t>(below(model_.holds.size())));
    }

    void settle() {
        const Actual actual{static_cast<int64_t>(below(500)), static_cast<int64_t>(below(500)),
                            below(3) != 0};
        if (model_.holds.empty() || below(10) == 0) {
            ASSERT_FALSE(book_.settle(request(next_id_ + 1), actual));
            return;
        }
        const auto held = any_hold();
        const uint64_t id = held->id;
        ASSERT_TRUE(book_.settle(request(id), actual));
        ASSERT_FALSE(book_.settle(request(id), actual));
        model_.settle(held, actual);
    }

    void renew() {
        if (model_.holds.empty()) {
            return;
        }
        const auto held = any_hold();
        ASSERT_TRUE(book_.renew(request(held->id), now_));
        held->deadline = now_ + kRaceTtl;
        model_.holds.splice(model_.holds.end(), model_.holds, held);
    }

    void crash() {
        Owner& owner = owners_[below(owners_.size())];
        ++owner.pid;
        book_.lapse_owner(owner);
        model_.lapse_owner(owner);
    }

    void compare(size_t meter) {
        ASSERT_EQ(book_.peek(meters_[meter].claim(0, 0), now_).used, model_.value(meter, now_))
            << meters_[meter].id.name;
    }

    const std::vector<Meter> meters_{
        {"fixed-1s", Unit::nano_usd, kFixedSecond},
        {"fixed-7s", Unit::tokens, {WindowKind::fixed, 7000}},
        {"fixed-1h", Unit::nano_usd, {WindowKind::fixed, 3'600'000}},
        {"day", Unit::nano_usd, {WindowKind::day, 0}},
        {"week", Unit::tokens, {WindowKind::week, 0}},
        {"month", Unit::nano_usd, {WindowKind::month, 0}},
        {"sliding-1s", Unit::tokens, {WindowKind::sliding, 1000}},
        {"sliding-1234ms", Unit::requests, {WindowKind::sliding, 1234}},
        {"sliding-1m", Unit::requests, kMinute},
        {"sliding-1m", Unit::tokens, kMinute},  // another unit is another counter
        {"parallel-a", Unit::parallel, {}},
        {"parallel-b", Unit::parallel, {}},
    };
    Book& book_;
    std::mt19937_64 random_;
    Model model_{meters_};
    std::vector<Owner> owners_{{0, 1}, {1, 2}, {2, 3}};
    uint64_t next_id_ = 0;
    int64_t now_ = kStart;
    int64_t seen_ = 0;
};

TEST_F(BookTest, DoesWhatTheModelDoes) {
    for (uint64_t seed = 1; seed <= 5; ++seed) {
        book = make(1024 * 1024);
        book.set_hold_ttl(kRaceTtl);
        Race race(book, seed);
        for (int step = 0; step < 60'000; ++step) {
            race.step();
            ASSERT_FALSE(testing::Test::HasFatalFailure()) << "seed " << seed << " step " << step;
        }
        race.compare_all();
        EXPECT_GT(race.admitted, 5000);
        EXPECT_GT(race.denied, 5000);
    }
}

// ---- processes that share a book

struct Shared {
    pthread_mutex_t mutex;
    std::atomic<int64_t> admitted, inside, most_inside, owner_deaths;
    alignas(64) std::byte region[512 * 1024];
};

class SharedBook {
  public:
    SharedBook()
        : shared(static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                                           MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(&shared->mutex, &attributes);
        book.emplace(*Book::format(shared->region, sizeof(shared->region)));
    }
    ~SharedBook() { munmap(shared, sizeof(Shared)); }

    template <class Work>
    auto locked(Work work) {
        if (pthread_mutex_lock(&shared->mutex) == EOWNERDEAD) {
            pthread_mutex_consistent(&shared->mutex);
            ++shared->owner_deaths;
        }
        auto result = work(*book);
        pthread_mutex_unlock(&shared->mutex);
        return result;
    }

    bool reserve(uint64_t id, Owner owner, std::initializer_list<Claim> claims) {
        return locked([&](Book& b) {
                   return b.reserve(request(id), owner, {claims.begin(), claims.size()}, kStart);
               }).outcome == Outcome::admitted;
    }

    Shared* shared;
    std::optional<Book> book;
};

template <class Work>
pid_t spawn(Work work) {
    const pid_t pid = fork();
    if (pid == 0) {
        work();
        _exit(0);
    }
    return pid;
}

TEST(SharedBookTest, RacingProcessesNeverExceedALimit) {
    SharedBook ledger;
    const Meter money{"global:usd:1mo", Unit::nano_usd, {WindowKind::month, 0}};
    const Meter parallel{"global:parallel", Unit::parallel, {}};
    constexpr int64_t kLimit = 20'000;
    constexpr int64_t kAmount = 7;
    std::vector<pid_t> pids;
    for (int32_t slot = 0; slot < 4; ++slot) {
        pids.push_back(spawn([&, slot] {
            for (uint64_t n = 0; n < 3000; ++n) {
                const uint64_t id = n * 4 + static_cast<uint64_t>(slot);
                if (!ledger.reserve(id, {slot, getpid()},
                                    {money.claim(kLimit, kAmount), parallel.claim(3, 1)})) {
                    continue;
                }
                const int64_t inside = ++ledger.shared->inside;
                int64_t most = ledger.shared->most_inside;
                while (inside > most &&
                       !ledger.shared->most_inside.compare_exchange_weak(most, inside)) {
                }
                std::this_thread::yield();
                --ledger.shared->inside;
                ++ledger.shared->admitted;
                ledger.locked([&](Book& b) { return b.settle(request(id), {kAmount, 0, true}); });
            }
        }));
    }
    for (const pid_t pid : pids) {
        int status = 0;
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
    }
    EXPECT_EQ(ledger.shared->admitted, kLimit / kAmount);
    EXPECT_LE(ledger.shared->most_inside, 3);
    EXPECT_EQ(ledger.book->peek(money.claim(0, 0), kStart).used, kLimit / kAmount * kAmount);
    EXPECT_EQ(ledger.book->peek(parallel.claim(0, 0), kStart).used, 0);
    EXPECT_EQ(ledger.book->counts().holds, 0u);
}

TEST(SharedBookTest, KilledProcessesLoseDoubleAndBlockNothing) {
    SharedBook ledger;
    const Meter money{"global:usd:1mo", Unit::nano_usd, {WindowKind::month, 0}};
    const Meter rate{"global:tokens:sliding-1m", Unit::tokens, kMinute};
    const Meter parallel{"global:parallel", Unit::parallel, {}};
    constexpr int64_t kHeld = 10;
    constexpr int64_t kUsed = 4;
    constexpr int32_t kSlots = 3;
    constexpr int64_t kEnoughDeaths = 40;
    std::atomic<uint64_t>* ids = reinterpret_cast<std::atomic<uint64_t>*>(&ledger.shared->inside);

    const auto work = [&](int32_t slot) {
        const Owner me{slot, getpid()};
        ledger.locked([&](Book& b) { return b.lapse_owner(me); });
        while (true) {
            const uint64_t id = ++*ids;
            if (!ledger.reserve(id, me,
                                {money.claim(kNever, kHeld), rate.claim(kNever, kHeld),
                                 parallel.claim(kSlots, 1)})) {
                continue;
            }
            ++ledger.shared->admitted;
            ledger.locked([&](Book& b) { return b.settle(request(id), {kUsed, kUsed, true}); });
        }
    };
    std::array<pid_t, kSlots> pids{};
    for (int32_t slot = 0; slot < kSlots; ++slot) {
        pids[static_cast<size_t>(slot)] = spawn([&, slot] { work(slot); });
    }
    std::mt19937_64 random(11);
    int64_t kills = 0;
    const auto kill_slot = [&](size_t slot) {
        kill(pids[slot], SIGKILL);
        waitpid(pids[slot], nullptr, 0);
        ++kills;
    };
    while (ledger.shared->owner_deaths < kEnoughDeaths && kills < 1000) {
        usleep(static_cast<useconds_t>(500 + random() % 3000));
        const size_t slot = random() % kSlots;
        kill_slot(slot);
        pids[slot] = spawn([&, slot] { work(static_cast<int32_t>(slot)); });
    }
    for (size_t slot = 0; slot < kSlots; ++slot) {
        kill_slot(slot);
    }
    for (int32_t slot = 0; slot < kSlots; ++slot) {
        ledger.locked([&](Book& b) { return b.lapse_owner({slot, -1}); });
    }

    EXPECT_GE(ledger.shared->owner_deaths, 1);
    EXPECT_EQ(ledger.book->counts().holds, 0u);
    EXPECT_EQ(ledger.book->peek(parallel.claim(0, 0), kStart).used, 0);
    // A kill cuts short one request at most, which then is charged nothing, as used or as held.
    const int64_t admitted = ledger.shared->admitted;
    EXPECT_GT(admitted, kills);
    for (const Meter* meter : {&money, &rate}) {
        const int64_t used = ledger.book->peek(meter->claim(0, 0), kStart).used;
        EXPECT_GE(used, admitted * kUsed);
        EXPECT_LE(used, admitted * kUsed + kills * kHeld);
    }
    // Not one record has leaked.
    const BookCounts counts = ledger.book->counts();
    for (uint64_t n = 0; n < counts.hold_capacity; ++n) {
        ASSERT_TRUE(ledger.reserve(~n, {0, 0}, {money.claim(kNever, 0)}));
    }
    EXPECT_EQ(ledger.book->counts().holds, counts.hold_capacity);
}

}  // namespace
}  // namespace ledger
