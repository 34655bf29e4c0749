#include "spend/budget_sums.hpp"

#include <charconv>
#include <stdexcept>

namespace spend {

namespace {

int64_t to_number(std::string_view text) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.begin(), text.end(), number);
    if (error != std::errc{} || end != text.end()) {
        throw std::invalid_argument("not a number in llm_budget_spend");
    }
    return number;
}

enum Field { kLast, kSnapshot, kCounter, kStart, kEnd, kSum };

// The range of counters comes first, from the index: so a page costs the same however large the
// table is, and whatever is known of it. It may hold no sums; without a last counter it is the end.
constexpr const char* kStatement = R"sql(
    SELECT page.last, pg_snapshot_xmin(pg_current_snapshot()), sums.*
    FROM (SELECT max(counter) AS last
          FROM (SELECT counter FROM llm_budget_spend WHERE counter > $1
                ORDER BY counter LIMIT 500) AS next) AS page
    LEFT JOIN LATERAL
        (SELECT counter, (array_agg(starts ORDER BY cost DESC))[1],
             (array_agg(ends ORDER BY cost DESC))[1], sum(cost)
         FROM (SELECT counter, window_start_ms AS starts, max(window_end_ms) AS ends,
                   sum(cost_nano_usd) AS cost, bool_or(changed >= $4) AS is_new
               FROM llm_budget_spend
               WHERE counter > $1 AND counter <= page.last AND window_end_ms > $2 AND epoch <> $3
               GROUP BY counter, window_start_ms) AS windows
         GROUP BY counter HAVING bool_or(is_new)) AS sums ON true
)sql";

}  // namespace

void BudgetSums::begin(uint64_t epoch, int64_t now_ms) {
    std::string wanted = std::to_string(epoch);
    if (wanted != epoch_) {
        since_ = "0";
    }
    epoch_ = std::move(wanted);
    now_ = std::to_string(now_ms);
    snapshot_ = since_;
    after_.clear();
}

void BudgetSums::finish(uint64_t epoch) {
    epoch_ = std::to_string(epoch);
    since_ = snapshot_;
}

const std::string& BudgetSums::statement() const noexcept {
    static const std::string text = kStatement;
    return text;
}

std::vector<const char*> BudgetSums::parameters() const {
    return {after_.c_str(), now_.c_str(), epoch_.c_str(), since_.c_str()};
}

// The first page's snapshot is the oldest: what it did not see is seen by the next reading.
std::vector<BudgetSum> BudgetSums::take(const io::PostgresOutcome& page) {
    std::vector<BudgetSum> sums;
    if (page.rows == 0) {
        throw std::invalid_argument("no answer from llm_budget_spend");
    }
    if (after_.empty()) {
        snapshot_ = page.at(0, kSnapshot);
    }
    after_ = page.at(0, kLast);
    for (int i = 0; i < page.rows && !page.at(i, kCounter).empty(); ++i) {
        sums.push_back({std::string(page.at(i, kCounter)), to_number(page.at(i, kStart)),
                        to_number(page.at(i, kEnd)), to_number(page.at(i, kSum))});
    }
    return sums;
}

}  // namespace spend
