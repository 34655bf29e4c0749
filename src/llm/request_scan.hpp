#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "llm/api_error.hpp"
#include "llm/endpoint.hpp"
#include "llm/json_scan.hpp"

namespace llm {

// A bound on output tokens as the request gives it; null gives none.
struct TokenBound {
    Span value;
    std::optional<int64_t> tokens;
};

// A field of the top-level object that was present. The spans cover the raw bytes: `value` includes
// the quotes or braces of its value.
struct FieldSpan {
    Span key;
    Span value;
};

// What one pass over a request body found. Offsets refer to that body; no text is copied from it
// except the short fields (model, user, tags): these are well-formed UTF-8 without NUL, at most
// kMaxShortField bytes each. All of it concerns the top-level object only: "model" nested in a
// tool's schema is not the model. An optional field that is null counts as absent.
struct ScannedRequest {
    std::string model;  // unescaped; never empty
    Span model_value;

    bool stream = false;

    // The client's bound on output tokens: the larger one, if both fields give one, because which
    // of them is obeyed is the provider's choice. And both as they stand.
    std::optional<int64_t> max_tokens;
    std::optional<TokenBound> max_tokens_field;
    std::optional<TokenBound> max_completion_tokens_field;

    // Answers asked for: max(n, best_of) × prompts of a completions call. At least 1.
    int64_t choices = 1;

    std::string user;               // the request's end user ("user"), may be empty
    std::vector<std::string> tags;  // metadata.tags: ["…"]; at most kMaxTags

    // stream_options as found: absent, or with or without include_usage.
    std::optional<FieldSpan> stream_options;  // value may be an object or null
    std::optional<Span> include_usage_value;  // inside it: true, false or null
    bool include_usage = false;               // the client asked for usage in its stream

    // What a tokenizer has to count: raw string contents between the quotes (escapes undecoded) of
    // messages, prompt, input …, empty ones left out; and whole raw values (tools, functions,
    // response_format …).
    std::vector<Span> text;
    std::vector<Span> structures;
    int64_t token_ids = 0;  // numbers in token-id arrays (prompt, input)
    int64_t messages = 0;
    int64_t images = 0;  // image parts; their data is not in `text`
    int64_t inputs = 1;  // prompts of a completions call, inputs of an embeddings call; else 1
};

using ScanResult = std::variant<ScannedRequest, ApiError>;

// One pass over a whole request body in slices, no DOM. Errors are 400s for the client: not JSON,
// not an object, no model, what the endpoint needs missing (messages, input), a wrong type
// ("max_tokens":"100"), a number out of range, a short field too long, nested deeper than
// kMaxDepth, a key that is interpreted here and stands twice (which of the two a provider would
// take is anybody's guess, so neither is taken). Keys that mean nothing here are passed over. Keys
// are compared unescaped ("mod\u0065l" is "model").
class RequestScan {
  public:
    // The body must outlive the scan.
    RequestScan(std::string_view body, Endpoint endpoint);
    ~RequestScan();
    RequestScan(RequestScan&&) noexcept;
    RequestScan& operator=(RequestScan&&) noexcept;

    // Goes on for about so many bytes (at least 1; 64 KB take less than 0.3 ms, whatever they are).
    // Returns whether it is done, be it with an error. The result depends on no slice.
    bool advance(size_t bytes);

    // Once, when it is done.
    ScanResult take();

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

// All in one slice.
ScanResult scan_request(std::string_view body, Endpoint endpoint);

inline constexpr int kMaxDepth = json::Scan::kMaxDepth;
inline constexpr int64_t kMaxTokensField = 1'000'000'000;
inline constexpr int64_t kMaxChoices = 128;  // of n and best_of, as OpenAI's own
inline constexpr size_t kMaxShortField = 512;
inline constexpr size_t kMaxTags = 64;

// No prompt has more tokens than this: a byte-level BPE never makes more tokens than bytes; every
// message and image adds its documented framing at most. (Files, audio and video that are named by
// URL or id have no bound in the request, and none here.)
int64_t prompt_token_bound(const ScannedRequest& request) noexcept;

}  // namespace llm
