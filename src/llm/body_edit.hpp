#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "llm/request_scan.hpp"

namespace llm {

// The fields that bind the output of a chat completion.
inline constexpr std::string_view kMaxTokens = "max_tokens";
inline constexpr std::string_view kMaxCompletionTokens = "max_completion_tokens";

// What the deployment needs changed in a request.
struct EditPlan {
    std::optional<std::string_view> model;  // the deployment's own name, unescaped
    bool include_usage = false;             // ask the provider for usage, if the answer is a stream
    // Bind the output to so many tokens: what the client's bounds have above it is lowered. Without
    // a bound, this field is inserted (or put in the place of a null).
    std::optional<int64_t> max_tokens;
    std::string_view bound_field = kMaxTokens;
    // The client wrote its bound for another model: what stands in the other field moves to that
    // one.
    bool moves_bound = false;
};

// One splice: the bytes `at` of the body are replaced by `text` (empty span: an insertion).
struct Splice {
    Span at;
    std::string text;
};

// The splices in ascending, non-overlapping order; empty when nothing has to change. `request` is
// what scan_request() found in this very body.
std::vector<Splice> plan_splices(std::string_view body, const ScannedRequest& request,
                                 const EditPlan& plan);

size_t spliced_size(std::string_view body, const std::vector<Splice>& splices) noexcept;

// Writes exactly spliced_size() bytes to `out`; bytes outside the splices are copied untouched.
void splice_into(std::string_view body, const std::vector<Splice>& splices, char* out) noexcept;

}  // namespace llm
