#include "module/charged_budgets.hpp"

#include "ledger/window.hpp"

namespace module {

std::vector<spend::ChargedBudget> charged_budgets(const Call& call, uint32_t spared,
                                                  llm::NanoUsd cost) {
    std::vector<spend::ChargedBudget> budgets;
    if (call.decision.epoch == ledger::kNoEpochs || !call.decision.held || cost == 0) {
        return budgets;
    }
    for (size_t i = 0; i < call.n_claims; ++i) {
        const ledger::Claim& claim = call.claims[i];
        if (claim.unit == ledger::Unit::nano_usd && (spared >> i & 1) == 0) {
            const int64_t start = call.decision.states[i].start_ms;
            const ledger::Period window = ledger::period_at(claim.window, start, start);
            budgets.push_back({claim.counter->name, window.start_ms, window.end_ms});
        }
    }
    return budgets;
}

}  // namespace module
