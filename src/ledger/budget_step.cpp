#include "ledger/budget_step.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace ledger {

namespace {

using StepResult = llm::Result<BudgetStep>;

StepResult invalid(std::string_view text) {
    return StepResult::failure("invalid step \"" + std::string(text) +
                               "\": expected a percentage, as in 80%, and alert, reject, allow or "
                               "downgrade:MODEL");
}

// "80%": 1 to 100.
std::optional<int> parse_percent(std::string_view text) noexcept {
    if (!text.ends_with('%')) {
        return std::nullopt;
    }
    text.remove_suffix(1);
    int percent = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, percent);
    const bool valid = error == std::errc{} && rest == end && percent >= 1 && percent <= 100;
    return valid ? std::optional(percent) : std::nullopt;
}

// Rounded down to a nano-dollar.
int64_t share(int64_t limit, int percent) noexcept {
    return limit / 100 * percent + limit % 100 * percent / 100;
}

StepResult parse_action(std::string_view text) {
    constexpr std::string_view kDowngrade = "downgrade:";
    BudgetStep step;
    if (text == "alert") {
        step.action = BudgetStep::Action::alert;
    } else if (text == "reject") {
        step.action = BudgetStep::Action::reject;
    } else if (text == "allow") {
        step.action = BudgetStep::Action::allow;
    } else if (text.starts_with(kDowngrade) && text.size() > kDowngrade.size()) {
        step.action = BudgetStep::Action::downgrade;
        step.model = text.substr(kDowngrade.size());
    } else {
        return invalid(text);
    }
    return step;
}

StepResult parse_step(int64_t limit, std::string_view percent, std::string_view action) {
    const auto parsed = parse_percent(percent);
    if (!parsed) {
        return invalid(percent);
    }
    StepResult step = parse_action(action);
    if (step) {
        step->from = share(limit, *parsed);
    }
    return step;
}

}  // namespace

llm::Result<std::vector<BudgetStep>> parse_steps(int64_t limit, const StepOptions& options) {
    std::vector<StepResult> parsed;
    if (!options.soft.empty() || !options.over.empty()) {
        parsed.push_back(parse_step(limit, options.soft.empty() ? "100%" : options.soft,
                                    options.over.empty() ? "alert" : options.over));
    }
    for (const std::string_view text : options.at) {
        const size_t colon = text.find(':');
        parsed.push_back(colon == text.npos
                             ? invalid(text)
                             : parse_step(limit, text.substr(0, colon), text.substr(colon + 1)));
    }
    std::vector<BudgetStep> steps;
    for (StepResult& step : parsed) {
        if (!step) {
            return llm::Result<std::vector<BudgetStep>>::failure(step.error());
        }
        steps.push_back(std::move(*step));
    }
    if (std::count_if(steps.begin(), steps.end(), is_end) > 1) {
        return llm::Result<std::vector<BudgetStep>>::failure(
            "reject and allow stand for the rest of a budget: give one of them, once");
    }
    std::stable_sort(steps.begin(), steps.end(),
                     [](const auto& a, const auto& b) { return a.from < b.from; });
    return steps;
}

}  // namespace ledger
