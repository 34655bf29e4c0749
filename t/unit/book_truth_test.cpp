// A book that stands in for a true ledger elsewhere, in random weather: requests and replies get
// lost, notices are late, doubled or not heard of, workers die, clocks step, limits change.
// Whatever comes, the true ledger hears of every request exactly what it used, what is admitted
// here is within the limits as they are known here, and in the end nothing is held.

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>

#include "book_weather.hpp"

namespace ledger {
namespace {

using Id = std::array<uint8_t, 16>;

// As simple as can be: what each request or debt came to, each heard of once.
class Truth {
  public:
    struct Charge {
        int64_t at_ms;
        std::map<std::string, int64_t> amounts;
    };

    Decision reserve(const llm::RequestId& id, std::span<const Claim> claims, int64_t now) {
        Decision decision;
        decision.outcome = ended_.count(id.bytes) == 0 ? Outcome::admitted : Outcome::denied;
        decision.held = true;
        for (size_t i = 0; i < claims.size(); ++i) {
            const int64_t used = value(claims[i], now);
            if (used + claims[i].amount > claims[i].limit) {
                decision.outcome = Outcome::denied;
            }
            decision.states[i].used = used;
        }
        decision.decided_us = now * 1000;
        for (size_t i = 0; decision.outcome == Outcome::admitted && i < claims.size(); ++i) {
            decision.states[i].used += claims[i].amount;
            charges[id.bytes].at_ms = now;
            charges[id.bytes].amounts[claims[i].counter->name] = claims[i].amount;
        }
        return decision;
    }

    void hear(const Notice& notice) {
        if (!ended_.insert(notice.id.bytes).second) {
            return;
        }
        const auto [charge, is_new] = charges.try_emplace(notice.id.bytes);
        if (is_new) {
            charge->second.at_ms = notice.at_ms;
        }
        for (size_t i = 0; i < notice.size; ++i) {
            const Notice::Part& part = notice.parts[i];
            charge->second.amounts[{part.name.data(), part.name_size}] = part.actual;
        }
    }

    std::map<Id, Charge> charges;

  private:
    int64_t value(const Claim& claim, int64_t now) const {
        const Period period = period_at(claim.window, now, now);
        int64_t sum = 0;
        for (const auto& [_, charge] : charges) {
            const auto amount = charge.amounts.find(claim.counter->name);
            const bool counts = charge.at_ms >= period.start_ms && charge.at_ms < period.end_ms;
            sum += counts && amount != charge.amounts.end() ? amount->second : 0;
        }
        return std::max<int64_t>(sum, 0);
    }

    std::set<Id> ended_;
};

class Node : Weather {
  public:
    explicit Node(uint64_t seed) : Weather(seed) {}

    void step() {
        const int64_t what = below(100);
        if (what < 24) {
            begin();
        } else if (what < 42) {
            answer();
        } else if (what < 62) {
            end();
        } else if (what < 75) {
            send();
        } else if (what < 93) {
            deliver();
        } else if (what < 95) {
            move_clock();
        } else if (what < 97) {
            crash();
        } else if (what < 99) {
            die_in_a_call();
        } else {
            reload();
        }
        now_ += below(1'000);
    }

    void expect_the_truth_in_the_end() {
        while (!asked_.empty()) {
            answer();
        }
        while (!running_.empty()) {
            end();
        }
        const int64_t deadline = now_ + kHour;
        while (book_.counts().untold > 0 || !wire_.empty()) {
            now_ += 1'000;
            send();
            deliver();
            ASSERT_LT(now_, deadline);
        }
        ASSERT_EQ(book_.counts().holds, 0U);
        ASSERT_EQ(peek(slots_).used, 0);
        for (const Meter* meter : {&month_, &month_there_}) {
            ASSERT_EQ(told(*meter), used_[meter->id.name]) << meter->id.name;
        }
        for (const auto& [id, amounts] : of_asked_) {
            const auto charge = truth_.charges.find(id);
            for (const auto& [name, amount] : amounts) {
                const bool is_told = charge != truth_.charges.end();
                ASSERT_EQ(is_told ? charge->second.amounts[name] : 0, amount) << name;
            }
        }
    }

    int admitted = 0;
    int denied = 0;

  private:
    struct Request {
        std::vector<Claim> claims;
        Owner owner;
        bool is_asked = false;  // its end is told by its id
    };

    std::vector<Claim> some_claims() {
        std::vector<Claim> claims;
        for (const Meter* meter : {&month_, &month_there_, &day_, &rate_, &slots_}) {
            if (!one_in(3)) {
                const bool one = meter->unit == Unit::parallel || meter->unit == Unit::requests;
                const int64_t limit = one_in(4) ? below(one ? 20 : 2'000) : 1'000'000;
                claims.push_back(meter->claim(limit, one ? 1 : below(100)));
            }
        }
        return claims;
    }

    void begin() {
        const uint64_t id = ++next_id_;
        Request request{some_claims(), owner_, !one_in(3)};
        if (!request.is_asked) {
            const Decision decision =
                book_.reserve(ledger::request(id), owner_, request.claims, now_, Backing::debts);
            return note(id, request, decision);
        }
        ASSERT_TRUE(book_.ask(ledger::request(id), owner_, request.claims, now_));
        asked_[id] = request;
    }

    // The reply, if there is one; else it is judged here, whatever the true ledger has heard.
    void answer() {
        if (asked_.empty()) {
            return;
        }
        const auto [id, request] = *asked_.begin();
        asked_.erase(asked_.begin());
        const int64_t way = below(4);
        Decision decision;
        if (way != 0) {
            decision = truth_.reserve(ledger::request(id), request.claims, now_);
        }
        if (way > 1) {
            book_.heard(ledger::request(id), decision, now_);
        } else {
            decision = book_.judge_asked(ledger::request(id), request.claims, now_);
            expect_within_limits(request, decision);
            if (decision.outcome != Outcome::admitted) {
                book_.settle(ledger::request(id), {0, 0, false});
            }
        }
        if (decision.outcome == Outcome::admitted) {
            running_[id] = request;
        } else {
            charge(id, request, [](const Claim&) { return 0; });
        }
        ++(decision.outcome == Outcome::admitted ? admitted : denied);
    }

    void note(uint64_t id, const Request& request, const Decision& decision) {
        ASSERT_NE(decision.outcome, Outcome::unavailable);
        expect_within_limits(request, decision);
        if (decision.outcome == Outcome::admitted) {
            running_[id] = request;
        }
        ++(decision.outcome == Outcome::admitted ? admitted : denied);
    }

    void expect_within_limits(const Request& request, const Decision& decision) {
        for (size_t i = 0; i < request.claims.size(); ++i) {
            const bool is_admitted = decision.outcome == Outcome::admitted;
            ASSERT_TRUE(!is_admitted || decision.states[i].used <= request.claims[i].limit);
        }
    }

    void end() {
        if (running_.empty()) {
            return;
        }
        const auto [id, request] = *running_.begin();
        running_.erase(running_.begin());
        const Actual actual{below(150), below(150), true};
        if (book_.settle(ledger::request(id), actual)) {
            charge(id, request, [&](const Claim& claim) { return used_of(claim.unit, actual); });
        } else {
            lapse(id, request);
        }
    }

    // Charged as it was held.
    void lapse(uint64_t id, const Request& request) {
        charge(id, request,
               [](const Claim& claim) { return claim.unit == Unit::parallel ? 0 : claim.amount; });
    }

    template <class AmountOf>
    void charge(uint64_t id, const Request& request, AmountOf amount_of) {
        for (const Claim& claim : request.claims) {
            used_[claim.counter->name] += amount_of(claim);
            if (request.is_asked) {
                of_asked_[ledger::request(id).bytes][claim.counter->name] = amount_of(claim);
            }
        }
    }

    void send() {
        if (const auto notice = book_.next_notice(ledger::request(++next_id_), now_)) {
            wire_.push_back(*notice);
        }
    }

    void deliver() {
        if (wire_.empty()) {
            return;
        }
        const Notice notice = wire_.front();
        wire_.pop_front();
        const int64_t luck = below(8);
        if (luck > 0) {
            truth_.hear(notice);
        }
        if (luck > 2) {
            book_.told(notice);
        } else if (luck > 1) {
            book_.untold(notice);
        }
    }

    // Within the month that all of it happens in. Nobody waits for a reply as long as for a hold to
    // lapse.
    void move_clock() {
        while (!asked_.empty()) {
            answer();
        }
        const int64_t step = one_in(3) ? below(12 * kHour) : below(3 * Book::kClockStep);
        now_ += one_in(2) && now_ - step > kFirst ? -step : now_ + step < kLast ? step : 0;
    }

    // What the worker had under way lapses; what it asked for was never admitted. Its connection
    // may have carried some of what it was telling.
    void crash() {
        for (const auto& [id, request] : asked_) {
            if (one_in(2)) {
                truth_.reserve(ledger::request(id), request.claims, now_);
            }
            charge(id, request, [](const Claim&) { return 0; });
        }
        while (!wire_.empty() && one_in(2)) {
            truth_.hear(wire_.front());
            wire_.pop_front();
        }
        wire_.clear();
        asked_.clear();
        ++owner_.pid;
        book_.lapse_owner(owner_);
        for (const auto& [id, request] : running_) {
            lapse(id, request);
        }
        running_.clear();
    }

    int64_t told(const Meter& meter) const {
        int64_t sum = 0;
        for (const auto& [_, charge] : truth_.charges) {
            const auto amount = charge.amounts.find(meter.id.name);
            sum += amount == charge.amounts.end() ? 0 : amount->second;
        }
        return sum;
    }

    static constexpr int64_t kFirst = kStart - 12 * kDay;  // in June, everywhere
    static constexpr int64_t kLast = kStart + 12 * kDay;

    const Meter month_{"month", Unit::nano_usd, {WindowKind::month, 0}};
    const Meter month_there_{"month@Berlin", Unit::tokens,
                             calendar(WindowKind::month, "Europe/Berlin")};
    const Meter day_{"day", Unit::nano_usd, {WindowKind::day, 0}};
    const Meter rate_{"rate", Unit::requests, kMinute};
    const Meter slots_{"slots", Unit::parallel, {}};
    Owner owner_{0, 1, 7};
    Truth truth_;
    std::deque<Notice> wire_;
    std::map<uint64_t, Request> asked_, running_;
    std::map<std::string, int64_t> used_;
    std::map<Id, std::map<std::string, int64_t>> of_asked_;
};

TEST(BookTruth, HearsOfEveryRequestExactlyWhatItUsed) {
    for (uint64_t n = 1; n <= 8; ++n) {
        Node node(seed_of(n));
        for (int step = 0; step < 2'000; ++step) {
            node.step();
            ASSERT_FALSE(testing::Test::HasFatalFailure())
                << "seed " << seed_of(n) << " step " << step;
        }
        node.expect_the_truth_in_the_end();
        ASSERT_FALSE(testing::Test::HasFatalFailure()) << "seed " << seed_of(n);
        EXPECT_GT(node.admitted, 100);
        EXPECT_GT(node.denied, 50);
    }
}

}  // namespace
}  // namespace ledger
