#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "llm/request_scan.hpp"
#include "llm/tokenizer/counter.hpp"
#include "llm/tokenizer/model_tokens.hpp"

namespace llm::tokenizer {

// Counts the tokens of a scanned request's prompt in slices: its text as it stands in the body, and
// by the model's rules what surrounds messages, tools and images.
class PromptCount {
  public:
    // All but `model` must outlive it. `names`: of messages that have one.
    PromptCount(Encoding& encoding, const ModelTokens& model, std::string_view body,
                const ScannedRequest& request, int64_t names) noexcept;

    // Counts on for about `work` bytes' worth of plain text (50 000 take about 0.2 ms). Returns
    // whether all is counted. Goes on in no more than a little over a slice, whatever the text is.
    bool advance(uint64_t work);

    // Stops before the end: more than `limit` tokens are enough to know.
    bool exceeds(int64_t limit) const noexcept { return tokens() > limit; }

    // All, once all is counted; before that, of what has been.
    int64_t tokens() const noexcept;

    // Whether a provider may count otherwise: another vocabulary, tools, images, the rules of a
    // family that are not published.
    bool is_estimate() const noexcept { return estimated_; }

    // Of more than this many bytes the rest is taken for a token a byte: an upper bound.
    static constexpr uint64_t kMaxBytes = 16 << 20;

  private:
    size_t items() const noexcept { return request_.text.size() + request_.structures.size(); }
    bool in_structures() const noexcept { return item_ >= request_.text.size(); }
    std::string_view item() const noexcept;
    bool takes_as_tools();
    void read_slice(std::string_view item);
    void next_item() noexcept;

    Encoding& encoding_;
    const ModelTokens model_;
    const std::string_view body_;
    const ScannedRequest& request_;
    CharacterCounts characters_;
    Counter counter_;
    uint64_t read_ = 0;     // bytes in all
    size_t item_ = 0;       // the text, or after all of them the structure, that is being read
    size_t item_read_ = 0;  // bytes of it
    int64_t added_ = 0;     // tokens that stand in no text
    bool estimated_ = false;
};

}  // namespace llm::tokenizer
