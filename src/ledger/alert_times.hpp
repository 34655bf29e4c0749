#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>

namespace ledger {

// When each of many alerts may be given again. Remembers a bounded number of them: of more, the one
// that may be given again soonest is forgotten. O(log n).
class AlertTimes {
  public:
    static constexpr int64_t kLongestMs = 24 * 3600 * 1000;

    explicit AlertTimes(size_t most) : most_(most) {}

    // Whether the alert is to be given at now_ms (Unix time). If so, not again for `quiet_ms`, or
    // kLongestMs if that is less; a clock that is set back cannot make that longer.
    bool is_due(const std::string& alert, int64_t now_ms, int64_t quiet_ms);

    size_t size() const noexcept { return by_name_.size(); }

  private:
    using ByEnd = std::multimap<int64_t, std::string>;

    void forget(ByEnd::iterator alert) noexcept;

    const size_t most_;
    ByEnd by_end_;  // of their silence
    std::unordered_map<std::string, ByEnd::iterator> by_name_;
};

}  // namespace ledger
