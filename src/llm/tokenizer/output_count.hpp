#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "llm/tokenizer/counter.hpp"
#include "llm/tokenizer/model_tokens.hpp"

namespace llm::tokenizer {

// Counts the tokens of a model's output as it comes, delta by delta: for an answer whose provider
// does not say how many there were. A provider may count a few more or less: models do not always
// choose the tokens that their text would be encoded with, and hidden tokens stand in no text.
class OutputCount {
  public:
    // The encoding must outlive it. The deltas of a stream of one choice make one text; those of
    // several take turns, and are counted each for itself.
    OutputCount(Encoding& encoding, const TextRule& rule, bool is_one_text) noexcept
        : rule_(rule), is_one_text_(is_one_text), counter_(encoding, characters_) {}
    OutputCount(const OutputCount&) = delete;
    OutputCount& operator=(const OutputCount&) = delete;

    // A delta, decoded, and how many bytes of it follow that were not kept (none of an empty text):
    // byte for byte they are taken to have as many tokens as all that was read.
    void add(std::string_view text, size_t unread_bytes) noexcept;

    // No more comes.
    void finish() noexcept { counter_.finish(); }

    // Of all that came, once finished; before that the last few bytes are not decided.
    int64_t tokens() const noexcept;

  private:
    const TextRule rule_;
    const bool is_one_text_;
    CharacterCounts characters_;
    Counter counter_;
    int64_t read_bytes_ = 0;
    int64_t unread_bytes_ = 0;
};

}  // namespace llm::tokenizer
