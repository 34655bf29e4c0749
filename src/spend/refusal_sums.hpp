#pragma once

#include <cstddef>
#include <list>
#include <map>
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

    // Gives each sum to `record` and forgets it.
    template <class Record>
    void take(Record record) {
        for (const auto& [kind, row] : sums_) {
            record(row);
        }
        sums_.clear();
        texts_.clear();
    }

  private:
    // Identity, endpoint, model, status, error kind, decision.
    using Kind = std::tuple<const llm::Identity*, std::string_view, std::string_view, int,
                            std::string_view, std::string_view>;

    std::string_view keep(std::string_view text);

    std::map<Kind, Row> sums_;
    std::list<std::string> texts_;  // that the sums refer to
};

}  // namespace spend
