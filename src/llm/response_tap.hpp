#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "llm/usage.hpp"

namespace llm {

// Reads a provider's response as it passes: usage, how much output there was, and, for a stream, what
// the client is to see of it. Two kinds: a JSON body and an SSE stream of OpenAI's dialect (chat
// completions, completions, embeddings).
struct ResponseFacts {
    bool has_usage = false;
    Usage usage;               // valid if has_usage
    int64_t output_bytes = 0;  // bytes of decoded output text, reasoning, refusals and tool arguments: an upper
                               // bound of the tokens that they are
    bool complete = false;     // JSON: parsed to its end; SSE: [DONE] was seen
    bool malformed = false;    // something could not be parsed
    bool has_output = false;   // a first token was seen (for the time to it)
    std::string model;         // as the provider names it, at most 256 bytes
};

// A whole JSON response.
ResponseFacts read_json_response(std::string_view body);

class SseTap {
  public:
    // hide_usage: drop the chunk that only carries usage ("choices":[]) from what is passed on.
    explicit SseTap(bool hide_usage) noexcept;

    // Returns what to pass on to the client now. Without hide_usage that is `bytes` itself. With it, the
    // complete events but the hidden one; valid until the next call.
    std::string_view pass(std::string_view bytes);
    // At the end of the stream: what is still held back (an unfinished event), to be passed on.
    std::string_view finish();

    const ResponseFacts& facts() const noexcept { return facts_; }

  private:
    ResponseFacts facts_;
};

}  // namespace llm
