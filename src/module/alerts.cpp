#include "module/alerts.hpp"

#include <algorithm>

#include "io/ngx.hpp"
#include "llm/usd.hpp"

namespace module {

namespace {

constexpr int64_t kDayMs = 24 * 3600 * 1000;
constexpr size_t kMaxRemembered = 10'000;  // more may be said again

}  // namespace

void Alerts::raise(const ledger::ClaimTemplate& limit, const ledger::BudgetStep& step,
                   const ledger::CounterState& state) {
    if (quiet_until_ms_.size() >= kMaxRemembered) {
        quiet_until_ms_.clear();
    }
    const int64_t now_ms = io::wall_ms();
    int64_t& quiet_until_ms = quiet_until_ms_[limit.counter.name + ' ' + std::to_string(step.from)];
    if (now_ms < quiet_until_ms) {
        return;
    }
    quiet_until_ms = now_ms + std::min(state.reset_ms, kDayMs);
    const std::string limit_text = limit.has_limit() ? " of $" + llm::format_usd(limit.limit) : "";
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "llm: budget \"%s\" has come to $%s: $%s%s used or reserved",
                  limit.counter.name.c_str(), llm::format_usd(step.from).c_str(),
                  llm::format_usd(state.used).c_str(), limit_text.c_str());
}

}  // namespace module
