#include "spend/refusal_sums.hpp"

#include <algorithm>

namespace spend {

std::string_view RefusalSums::keep(std::string_view text) {
    const auto found = texts_.find(text);
    return found != texts_.end() ? *found : *texts_.emplace(text).first;
}

void RefusalSums::add(const Row& row) {
    const Kind kind{row.identity, row.endpoint,   row.model,
                    row.status,   row.error_kind, row.decision};
    if (const auto found = sums_.find(kind); found != sums_.end()) {
        Row& sum = found->second;
        sum.requests += row.requests;
        sum.held += row.held;
        sum.started_ms = std::min(sum.started_ms, row.started_ms);
        sum.ended_ms = std::max(sum.ended_ms, row.ended_ms);
        return;
    }
    Row sum = row;
    sum.error_kind = keep(row.error_kind);
    sum.decision = keep(row.decision);
    sum.customer = {};
    sum.requested_model = row.model;
    sum.tags = row.identity != nullptr ? &row.identity->tags : nullptr;
    sum.stream = false;
    const Kind kept{sum.identity, sum.endpoint,   sum.model,
                    sum.status,   sum.error_kind, sum.decision};
    sums_.emplace(kept, sum);
}

}  // namespace spend
