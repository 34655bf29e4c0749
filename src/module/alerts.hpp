#pragma once

#include "ledger/alert_times.hpp"
#include "ledger/limit_rule.hpp"

namespace module {

// Says in the error log that a budget has come to a step: once in its window, and daily while the
// window lasts. Of one worker; others say it too.
class Alerts {
  public:
    void raise(const ledger::ClaimTemplate& limit, const ledger::BudgetStep& step,
               const ledger::CounterState& state);

  private:
    ledger::AlertTimes times_{10'000};  // by counter and step; of more, some may be said again
};

}  // namespace module
