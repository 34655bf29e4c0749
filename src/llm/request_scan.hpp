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
#include "llm/chunked_list.hpp"
#include "llm/endpoint.hpp"
#include "llm/json_scan.hpp"
#include "llm/media_size.hpp"
#include "llm/usage.hpp"

namespace llm {

// A field of the top-level object that was present. The spans cover the raw bytes, with the quotes
// or braces.
struct FieldSpan {
    Span key;
    Span value;
};

// A bound on output tokens as the request gives it; null gives none.
struct TokenBound : FieldSpan {
    std::optional<int64_t> tokens;
};

// A value that is no text, but reaches the model as some.
struct Structure {
    enum class Rule : uint8_t {
        tool,         // one of tools or functions
        tool_choice,  // tool_choice, function_call
        format,       // response_format, Responses' text, Anthropic's output_config: their schema
        json,         // the arguments of an Anthropic tool call; tools that are no array
    };
    Rule rule;
    Span value;  // whole
};

struct PromptImage {
    enum class Detail : uint8_t { automatic, low, high, original };
    Detail detail = Detail::automatic;
    PixelSize size;  // of an image that stands in the request; else not known
};

// Everything of a request that becomes prompt tokens, by the shapes of OpenAI's Chat Completions,
// Completions, Embeddings and Responses, of Anthropic's Messages and of LiteLLM's token counter.
//
// Text are the strings that a model is shown: role, content, name and refusal of messages (the
// cookbook's rule: every string value of a message), the text of parts, thinking, tool results and
// their titles, the names and arguments of tool calls, and prompt, input, suffix, prediction,
// system and instructions. No text are what only the API reads: a part's type, ids, cache_control,
// media types, URLs and the data of media.
struct PromptContent {
    // Raw insides of strings (between the quotes, escapes undecoded), empty ones left out.
    ChunkedList<Span> text;
    ChunkedList<Structure> structures;
    ChunkedList<PromptImage> images;

    int64_t messages = 0;       // with those that stand in a field of their own: see implied_roles
    int64_t implied_roles = 0;  // system, instructions, an input of Responses that is a string
    int64_t names = 0;          // messages that have a name
    int64_t inputs = 1;      // prompts of a completions call, inputs of an embeddings call; else 1
    int64_t token_ids = 0;   // numbers in token-id arrays (prompt, input)
    AudioLength audio;       // of all sounds that stand in the request
    int64_t file_bytes = 0;  // of files, such as PDF, that stand in the request
    int64_t remote_media = 0;     // files, sounds and videos by URL or id: nothing tells their size
    bool has_tool_calls = false;  // or their results
    int64_t text_bytes = 0;       // of text and structures
    // Of all other strings there. The model should see none of them.
    int64_t other_bytes = 0;
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

    // The tier that the request asks for by name; nothing: by none that tells ("auto").
    std::optional<ServiceTier> service_tier;

    std::string user;               // the request's end user ("user"), may be empty
    std::vector<std::string> tags;  // metadata.tags: ["…"]; at most kMaxTags

    // stream_options as found: absent, or with or without include_usage.
    std::optional<FieldSpan> stream_options;  // value may be an object or null
    std::optional<Span> include_usage_value;  // inside it: true, false or null
    bool include_usage = false;               // the client asked for usage in its stream

    PromptContent prompt;
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

    // Goes on for about so many bytes, at least 1. (The slowest 64 KB, of nothing but empty
    // objects, take about 0.6 ms.) Returns whether it is done, be it with an error; where slices
    // end changes no result.
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
// message, image, second of sound and byte of a file adds what is documented at most. (Remote media
// have no bound in the request, and none here.)
int64_t prompt_token_bound(const PromptContent& prompt) noexcept;

}  // namespace llm
