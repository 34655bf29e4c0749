#pragma once

// What a call asks of its counters, and what the limits' steps make of the answer.

#include <optional>

#include "llm/api_error.hpp"
#include "module/call.hpp"

namespace module {

// More tokens than this are refused for certain. Of the limits that are known before the claims.
int64_t most_tokens_admitted(const Call& call) noexcept;

// Fills in the call's claims, on the most that it can use. An error: more limits apply to it than a
// ledger takes at once.
std::optional<llm::ApiError> make_claims(Call& call);

// The model that a denied call is to be served with instead, by the step of a budget that it goes
// beyond, whichever limit denied it. nullptr: none.
const llm::LogicalModel* downgrade_target(const Call& call);

// After the decision: alerts for budgets that have come to a step, and in shadow what would have
// been refused.
void take_note(Call& call);

// $llm_decision: "admitted", "downgraded", "shadow_" and the code of the refusal that it would have
// been, or the code of the error that the call was answered with.
std::string decision_name(const Call& call);

}  // namespace module
