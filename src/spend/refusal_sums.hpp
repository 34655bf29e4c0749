#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>

#include "spend/row.hpp"

namespace spend {

// Rows of refused requests, added up: one row for all that are alike in who asked, for what, and
// why it was refused. What a client words itself (customer, tags of the request, a model's name
// that is none) is left out, so that there are no more of them than the configuration has names.
class RefusalSums {
  public:
    static constexpr size_t kMostSums = 4096;

    // The row's identity, endpoint, model and price version outlive the sums.
    void add(const Row& row);

    bool empty() const noexcept { return sums_.empty(); }
    // No refusal of another kind should be added before the sums are taken.
    bool full() const noexcept { return sums_.size() >= kMostSums; }

    // Gives `most` sums, or all if there are less, to `record` and forgets them.
    template <class Record>
    void take(size_t most, Record record) {
        for (; most > 0 && !sums_.empty(); --most) {
            record(sums_.begin()->second);
            sums_.erase(sums_.begin());
        }
    }

  private:
    // Identity, endpoint, model, status, error kind, decision.
    using Kind = std::tuple<const llm::Identity*, std::string_view, std::string_view, int,
                            std::string_view, std::string_view>;

    std::string_view keep(std::string_view text);

    std::map<Kind, Row> sums_;
    std::set<std::string, std::less<>> texts_;  // codes that sums refer to: kept, there are few
};

}  // namespace spend
