#pragma once

#include <string>
#include <string_view>

#include "llm/result.hpp"
#include "llm/usage.hpp"

namespace llm {

// The question what something costs: of a model, or of what was or may be used of it.
struct CostQuery {
    std::string model;
    Usage usage;
};

// Reads such a question, a JSON object with a model and
// - a response's "usage" of any dialect, with its "service_tier" if it has one: a whole response
//   will do, by itself or as "completion_response";
// - or counts at its top: "prompt_tokens" or "input_tokens" (cached ones included),
//   "completion_tokens" or "output_tokens", "cache_read_input_tokens",
//   "cache_creation_input_tokens", "reasoning_tokens", "characters" to speak, "images" to make and
//   "pixels" of all of them, "seconds" to transcribe, "web_search_requests".
// A failure says which field is wrong: not a count, above kMaxCount, a part larger than its whole.
Result<CostQuery> read_cost_query(std::string_view json);

}  // namespace llm
