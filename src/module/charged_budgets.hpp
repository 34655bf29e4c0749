#pragma once

#include <vector>

#include "module/call.hpp"
#include "spend/row.hpp"

namespace module {

// The counters that the ledger charges the cost of a call to, for its spend row; none if the ledger
// holds nothing for it, or if rows bring nothing back to it. They live as long as the call. Bit i
// of `spared`: nothing is charged to claim i.
std::vector<spend::ChargedBudget> charged_budgets(const Call& call, uint32_t spared,
                                                  llm::NanoUsd cost);

}  // namespace module
