#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/postgres_client.hpp"

namespace spend {

// What rows charged to a counter, in windows that are not over. Unix milliseconds. Where nodes that
// were on their own began different windows of one counter, it is their sum, in the one that most
// was charged to.
struct BudgetSum {
    std::string counter;
    int64_t start_ms = 0;
    int64_t end_ms = 0;
    int64_t nano_usd = 0;
};

// Reads the sums of llm_budget_spend (conf/schema/005_budgets.sql) in pages, in the order of their
// counters, each small enough for a turn of the event loop. Sends nothing itself.
class BudgetSums {
  public:
    // From the first page on: sums of all epochs but that one (0: of all), of windows that end
    // later than now_ms. They are those that have changed since the last reading that was finished
    // in the same epoch, or all.
    void begin(uint64_t epoch, int64_t now_ms);
    const std::string& statement() const noexcept;
    std::vector<const char*> parameters() const;

    // A page that has come; it may be empty before the end. Throws std::invalid_argument if it is
    // none.
    std::vector<BudgetSum> take(const io::PostgresOutcome& page);
    bool at_end() const noexcept { return after_.empty(); }
    // All that was read has arrived where it was to go, in this epoch.
    void finish(uint64_t epoch);

  private:
    std::string epoch_, now_;
    std::string since_, snapshot_;  // transaction ids
    std::string after_;             // the last counter that was read
};

}  // namespace spend
