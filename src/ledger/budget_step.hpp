#pragma once

// What a budget does before it is used up, and when it is: soft limits and thresholds.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "llm/result.hpp"

namespace ledger {

struct BudgetStep {
    enum class Action : uint8_t {
        alert,      // say so; nothing else
        downgrade,  // serve a cheaper model
        reject,
        allow  // from here on count only
    };

    int64_t from = 0;  // nano-USD: holds for a request that would take what is used beyond it
    Action action = Action::alert;
    std::string model;  // of downgrade

    bool operator==(const BudgetStep&) const = default;
};

// Decides whether requests are refused, from there on.
inline bool is_end(const BudgetStep& step) noexcept {
    return step.action == BudgetStep::Action::reject || step.action == BudgetStep::Action::allow;
}

// The options of llm_budget, each as it was given or empty.
struct StepOptions {
    std::string_view soft;             // "80%"
    std::string_view over;             // "reject", "allow", "downgrade:gpt-4o-mini"
    std::vector<std::string_view> at;  // "50%:alert", "80%:downgrade:gpt-4o-mini", "100%:reject"
};

// The steps of a budget of `limit`, by what they begin from. `over` says what happens from `soft`
// on, or else from the whole limit on; `soft` alone alerts. Percentages are whole, 1 to 100. The
// limit itself rejects, if no step before it does or allows; only one of them may.
llm::Result<std::vector<BudgetStep>> parse_steps(int64_t limit, const StepOptions& options);

}  // namespace ledger
