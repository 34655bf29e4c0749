// Book against a model that is too simple to be wrong: random requests, settlements, lapses,
// crashes of owners and inside of calls, reloads, limits and steps of the clock (back by no more
// than workers' clocks may differ) must have the same outcomes and values in both.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <list>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "book_weather.hpp"

namespace ledger {
namespace {

constexpr int64_t kHoldTtl = 15'000;  // short, so that holds lapse all the time

// The C library's calendars, which take their time to change between zones.
class Calendars {
  public:
    // Days from 1970 and months of year 0, by what clocks of the zone show at t.
    struct Date {
        int64_t day;
        int64_t month;
    };

    Date at(int64_t zone, int64_t t) {
        constexpr int64_t kQuarter = 15 * 60 * 1000;  // every offset in use is a multiple of it
        const auto [found, is_new] = dates_.try_emplace({zone, t / kQuarter});
        if (is_new) {
            found->second = look_up(std::string(time_zone_name(zone)), t / 1000);
        }
        return found->second;
    }

  private:
    static Date look_up(const std::string& zone, time_t seconds) {
        setenv("TZ", zone.c_str(), 1);
        tzset();
        std::tm tm{};
        localtime_r(&seconds, &tm);
        const int64_t month = 12 * tm.tm_year + tm.tm_mon;
        tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
        return {int64_t{timegm(&tm)} / 86'400, month};
    }

    std::map<std::pair<int64_t, int64_t>, Date> dates_;
};

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

    // The window that counts at t: its start, the slice, or the number of the day, week or month.
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
                return calendar_number(window, t);
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
        Held held{id, owner, now + kHoldTtl, {}};
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

    int64_t calendar_number(const Window& window, int64_t t) {
        const Calendars::Date date = calendars_.at(window.zone, t);
        constexpr int64_t kThursday = 3;  // 1970-01-01, from Monday
        switch (window.kind) {
            case WindowKind::month:
                return date.month;
            case WindowKind::week:
                return (date.day + kThursday) / 7;
            default:
                return date.day;
        }
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
    Calendars calendars_;
};

class Race {
  public:
    Race(std::span<std::byte> memory, uint64_t seed)
        : memory_(memory),
          book_(Book::format(memory.data(), memory.size(), kHoldTtl).value()),
          random_(seed) {}

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
        } else if (what < 98) {
            die_in_a_call();
            book_ = Book::attach(memory_.data(), memory_.size()).value();
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

    // What a worker with a late clock would say; the book goes by the latest time it has seen.
    int64_t said() {
        const uint64_t late = below(2) == 0 ? 50 : Book::kClockStep + 1;
        return seen_ == now_ && below(4) == 0 ? now_ - static_cast<int64_t>(below(late))
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
        held->deadline = now_ + kHoldTtl;
        model_.holds.splice(model_.holds.end(), model_.holds, held);
    }

    void crash() {
        Owner& owner = owners_[below(owners_.size())];
        ++owner.pid;
        book_.lapse_owner(owner);
        model_.lapse_owner(owner);
    }

    // The next call makes every list anew and gives all holds new deadlines, in an order of its
    // own.
    void die_in_a_call() {
        ledger::die_in_a_call(memory_);
        for (Model::Held& held : model_.holds) {
            ASSERT_TRUE(book_.renew(request(held.id), now_));
            held.deadline = now_ + kHoldTtl;
        }
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
        {"day@Berlin", Unit::nano_usd, calendar(WindowKind::day, "Europe/Berlin")},
        {"day@Havana", Unit::requests, calendar(WindowKind::day, "America/Havana")},
        {"week@New_York", Unit::tokens, calendar(WindowKind::week, "America/New_York")},
        {"month@Lord_Howe", Unit::nano_usd, calendar(WindowKind::month, "Australia/Lord_Howe")},
        {"sliding-1s", Unit::tokens, {WindowKind::sliding, 1000}},
        {"sliding-1234ms", Unit::requests, {WindowKind::sliding, 1234}},
        {"sliding-1m", Unit::requests, kMinute},
        {"sliding-1m", Unit::tokens, kMinute},  // another unit is another counter
        {"parallel-a", Unit::parallel, {}},
        {"parallel-b", Unit::parallel, {}},
    };
    const std::span<std::byte> memory_;
    Book book_;
    std::mt19937_64 random_;
    Model model_{meters_};
    std::vector<Owner> owners_{{0, 1}, {1, 2}, {2, 3}};
    uint64_t next_id_ = 0;
    int64_t now_ = kStart;
    int64_t seen_ = 0;
};

TEST(BookModel, DoesWhatTheModelDoes) {
    std::vector<std::byte> memory(1024 * 1024);
    for (uint64_t n = 1; n <= 5; ++n) {
        Race race(memory, seed_of(n));
        for (int step = 0; step < 20'000; ++step) {
            race.step();
            ASSERT_FALSE(testing::Test::HasFatalFailure())
                << "seed " << seed_of(n) << " step " << step;
        }
        race.compare_all();
        EXPECT_GT(race.admitted, 1500);
        EXPECT_GT(race.denied, 1500);
    }
}

}  // namespace
}  // namespace ledger
