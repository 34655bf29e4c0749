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

std::string make_statement() {
    return "SELECT counter, max(window_start_ms), max(window_end_ms), sum(cost_nano_usd),"
           " pg_snapshot_xmin(pg_current_snapshot())"
           " FROM llm_budget_spend WHERE counter > $1 AND window_end_ms > $2 AND epoch <> $3"
           " GROUP BY counter HAVING bool_or(changed >= $4) ORDER BY counter LIMIT " +
           std::to_string(BudgetSums::kPage);
}

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
    at_end_ = false;
}

void BudgetSums::finish(uint64_t epoch) {
    epoch_ = std::to_string(epoch);
    since_ = snapshot_;
}

const std::string& BudgetSums::statement() const noexcept {
    static const std::string text = make_statement();
    return text;
}

std::vector<const char*> BudgetSums::parameters() const {
    return {after_.c_str(), now_.c_str(), epoch_.c_str(), since_.c_str()};
}

// The first page's snapshot is the oldest: what it did not see is seen by the next reading.
std::vector<BudgetSum> BudgetSums::take(const io::PostgresOutcome& page) {
    std::vector<BudgetSum> sums;
    for (int i = 0; i < page.rows; ++i) {
        sums.push_back({std::string(page.at(i, 0)), to_number(page.at(i, 1)),
                        to_number(page.at(i, 2)), to_number(page.at(i, 3))});
    }
    at_end_ = page.rows < kPage;
    if (page.rows > 0) {
        snapshot_ = after_.empty() ? std::string(page.at(0, 4)) : snapshot_;
        after_ = sums.back().counter;
    }
    return sums;
}

}  // namespace spend
