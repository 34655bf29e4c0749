#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "ledger/limit_rule.hpp"

namespace module {

// Says in the error log that a budget has come to a step: once in its window, and daily while the
// window lasts. Of one worker; others say it too.
class Alerts {
  public:
    void raise(const ledger::ClaimTemplate& limit, const ledger::BudgetStep& step,
               const ledger::CounterState& state);

  private:
    std::unordered_map<std::string, int64_t> quiet_until_ms_;  // by counter and step
};

}  // namespace module
