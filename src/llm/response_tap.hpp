#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "llm/response_json.hpp"
#include "llm/sse.hpp"
#include "llm/usage.hpp"

namespace llm {

// Reads a provider's response as it passes: usage, how much output there was, and, for a stream,
// what the client is to see of it. Two kinds: a JSON body and an SSE stream of OpenAI's dialect
// (chat completions, completions, embeddings).
struct ResponseFacts {
    bool has_usage = false;
    bool has_prompt = false;   // what of usage is the prompt's is known (Anthropic tells it first)
    Usage usage;               // valid if has_usage; the last one that came
    int64_t output_bytes = 0;  // bytes of decoded output text, reasoning, refusals and tool
                               // arguments: an upper bound of the tokens that they are
    bool complete = false;     // JSON: parsed to its end; SSE: [DONE] was seen
    bool malformed = false;    // something could not be parsed
    bool has_output = false;   // a first token was seen (for the time to it)
    std::string model;  // as the provider names it, at most 256 bytes; not validated as UTF-8
};

// A whole JSON response. `output` counts its text; nullptr: nobody does.
ResponseFacts read_json_response(std::string_view body, tokenizer::OutputCount* output = nullptr);

// A JSON response as its bytes come, cut anywhere.
class JsonTap {
  public:
    JsonTap() noexcept : json_(facts_) {}

    void feed(std::string_view bytes) noexcept;
    // At the end of the body: sets facts().complete or facts().malformed. Once; nothing is fed
    // after it.
    void finish() noexcept;

    const ResponseFacts& facts() const noexcept { return facts_; }
    void count_output(tokenizer::OutputCount* output) noexcept { json_.count_output(output); }

  private:
    ResponseFacts facts_;
    ResponseJson json_;
};

class SseTap {
  public:
    // hide_usage: drop the chunk that only carries usage ("choices":[]) from what is passed on.
    // output: counts the text; must outlive the tap's reading. nullptr: nobody does.
    explicit SseTap(bool hide_usage, tokenizer::OutputCount* output = nullptr) noexcept
        : json_(facts_), hide_usage_(hide_usage) {
        json_.count_output(output);
    }

    // Returns what to pass on to the client now. Without hide_usage that is `bytes` itself. With
    // it, the complete events but the hidden one: a piece of `bytes` or a copy, valid until the
    // next call and no longer than `bytes`. After an event larger than SseSplitter::kMaxEvent all
    // bytes are passed on unparsed, and the facts are malformed.
    std::string_view pass(std::string_view bytes);
    // At the end of the stream, once: what is still held back (an unfinished event), to be passed
    // on.
    std::string_view finish();

    const ResponseFacts& facts() const noexcept { return facts_; }

  private:
    bool is_visible(const SseSplitter::Event& event);
    bool read_chunk(std::string_view data);
    void show(std::string_view raw);

    ResponseFacts facts_;
    ResponseJson json_;
    SseSplitter splitter_;
    std::string_view shown_;  // of this pass
    std::string shown_copy_;  // holds it where it is not one piece of the input
    bool hide_usage_;
    bool last_visible_ = true;
};

}  // namespace llm
