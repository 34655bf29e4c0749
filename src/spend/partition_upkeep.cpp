#include "spend/partition_upkeep.hpp"

namespace spend {

namespace {

constexpr ngx_msec_t kEveryMs = 3'600'000;
constexpr ngx_msec_t kRetryMs = 60'000;
constexpr const char* kDaysAhead = "3";
constexpr std::string_view kLockNotAvailable = "55P03";  // somebody else is at the tables

}  // namespace

PartitionUpkeep::PartitionUpkeep(int keep_days)
    : keep_days_(keep_days > 0 ? std::to_string(keep_days) : ""), due_ms_(ngx_current_msec) {}

bool PartitionUpkeep::due() const noexcept {
    return static_cast<ngx_msec_int_t>(ngx_current_msec - due_ms_) >= 0;
}

const std::string& PartitionUpkeep::statement() const noexcept {
    static const std::string text = "SELECT llm_spend_tend($1, $2)";
    return text;
}

std::vector<const char*> PartitionUpkeep::parameters() const {
    return {kDaysAhead, keep_days_.empty() ? nullptr : keep_days_.c_str()};
}

void PartitionUpkeep::finished(const io::PostgresOutcome& outcome) noexcept {
    if (outcome.ok) {
        due_ms_ = outcome.rows > 0 ? ngx_current_msec : ngx_current_msec + kEveryMs;
        return;
    }
    if (outcome.sqlstate == kLockNotAvailable) {
        due_ms_ = ngx_current_msec + kRetryMs;
        return;
    }
    complain(outcome);
    due_ms_ = ngx_current_msec + kEveryMs;
}

void PartitionUpkeep::lost() noexcept {
    due_ms_ = ngx_current_msec + kRetryMs;
}

// Once: without the right to it the rows are safe in the default partition, and there may be a cron
// job.
void PartitionUpkeep::complain(const io::PostgresOutcome& outcome) noexcept {
    if (std::exchange(complained_, true)) {
        return;
    }
    ngx_log_error(
        NGX_LOG_WARN, ngx_cycle->log, 0,
        "llm spend: Postgres makes and drops no partitions for us (%*s): grant EXECUTE on "
        "llm_spend_tend, or run scripts/apply-schema daily",
        outcome.message.size(), outcome.message.data());
}

}  // namespace spend
