#include "ledger/alert_times.hpp"

#include <algorithm>

namespace ledger {

bool AlertTimes::is_due(const std::string& alert, int64_t now_ms, int64_t quiet_ms) {
    if (const auto known = by_name_.find(alert); known != by_name_.end()) {
        const int64_t left_ms = known->second->first - now_ms;
        if (left_ms > 0 && left_ms <= kLongestMs) {
            return false;
        }
        forget(known->second);
    }
    if (by_end_.size() >= most_) {
        forget(by_end_.begin());
    }
    by_name_[alert] = by_end_.emplace(now_ms + std::min(quiet_ms, kLongestMs), alert);
    return true;
}

void AlertTimes::forget(ByEnd::iterator alert) noexcept {
    by_name_.erase(alert->second);
    by_end_.erase(alert);
}

}  // namespace ledger
