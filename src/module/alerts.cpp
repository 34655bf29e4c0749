#include "module/alerts.hpp"

#include "io/ngx.hpp"
#include "llm/usd.hpp"

namespace module {

void Alerts::raise(const ledger::ClaimTemplate& limit, const ledger::BudgetStep& step,
                   const ledger::CounterState& state) {
    const std::string alert = limit.counter.name + ' ' + std::to_string(step.from);
    if (!times_.is_due(alert, io::wall_ms(), state.reset_ms)) {
        return;
    }
    const std::string limit_text = limit.has_limit() ? " of $" + llm::format_usd(limit.limit) : "";
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "llm: budget \"%s\" has come to $%s: $%s%s used or reserved",
                  limit.counter.name.c_str(), llm::format_usd(step.from).c_str(),
                  llm::format_usd(state.used).c_str(), limit_text.c_str());
}

}  // namespace module
