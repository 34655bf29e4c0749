#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "llm/request_scan.hpp"
#include "llm/tokenizer/counter.hpp"
#include "llm/tokenizer/model_tokens.hpp"

namespace llm::tokenizer {

// Counts the tokens of a scanned request's prompt in slices: its text as it stands in the body, and
// by the model's rules what surrounds messages, tools, images, sounds and files.
class PromptCount {
  public:
    // All but `model` must outlive it. `prompt` is what a scan of this very body found.
    PromptCount(Encoding& encoding, const ModelTokens& model, std::string_view body,
                const PromptContent& prompt) noexcept;

    // Counts on for about `work` bytes' worth of plain text (50 000 take about 0.2 ms). Returns
    // whether all is counted. Goes on in no more than a little over a slice, whatever the text is.
    bool advance(uint64_t work);

    // Stops before the end: more than `limit` tokens are enough to know.
    bool exceeds(int64_t limit) const noexcept { return tokens() > limit; }

    // All, once all is counted; before that, of what has been.
    int64_t tokens() const noexcept;

    // Once all is counted: no provider counts more. Of an estimate that is prompt_token_bound(),
    // less for text that is counted exactly, more for text that the model's tokenizer may lengthen.
    int64_t most() const noexcept;

    // Whether a provider may count otherwise: another vocabulary, tools, calls of them, media, the
    // rules of a family that are not published, text that the model's tokenizer may alter. Of
    // remote media there is nothing in the count.
    bool is_estimate() const noexcept { return estimated_ || !counter_.is_exact(); }

    // Of more than this many bytes the rest is taken for a token a byte: an upper bound.
    static constexpr uint64_t kMaxBytes = 16 << 20;

  private:
    size_t items() const noexcept {
        return prompt_.text.size() + prompt_.structures.size() + prompt_.images.size();
    }
    int64_t surroundings() const noexcept;
    void begin_item();
    std::string_view begin_structure(const Structure& structure);
    void end_item() noexcept;
    void read_slice();

    Encoding& encoding_;
    const ModelTokens model_;
    const std::string_view body_;
    const PromptContent& prompt_;
    CharacterCounts characters_;
    Counter counter_;
    uint64_t spent_ = 0;        // work, without the encoding's
    uint64_t fed_ = 0;          // bytes to the counter
    uint64_t exact_bytes_ = 0;  // of the first texts, as long as they are counted exactly
    int64_t exact_tokens_ = 0;  // of these
    size_t item_ = 0;           // the next of all texts, then structures, then images
    bool in_item_ = false;      // the one before it is being read
    std::string_view rest_;     // of it
    TextForm form_ = TextForm::json;
    int64_t added_ = 0;       // tokens that stand in no text
    bool has_tools_ = false;  // so far
    bool estimated_ = false;
};

}  // namespace llm::tokenizer
