#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "llm/tokenizer/char_sets.hpp"
#include "llm/tokenizer/encoding.hpp"
#include "llm/tokenizer/long_piece.hpp"
#include "llm/tokenizer/model_tokens.hpp"
#include "llm/tokenizer/normal_form.hpp"
#include "llm/tokenizer/piece_batch.hpp"
#include "llm/tokenizer/special_mark.hpp"
#include "llm/tokenizer/text_decoder.hpp"

namespace llm::tokenizer {

// Counts the tokens of one text after another, exactly, each fed in parts that may be cut anywhere:
// the deltas of a stream, or slices of a long prompt. The cost is linear in the bytes, whatever
// they are and however they are cut; the memory constant (about 7 KB). Special tokens are ordinary
// text.
class Counter {
  public:
    // The encoding must outlive the counter; many counters may share one.
    explicit Counter(Encoding& encoding) noexcept
        : encoding_(&encoding),
          normal_form_(encoding.vocabulary()),
          long_piece_(encoding.vocabulary()) {}

    // Counts characters too, for an estimate.
    Counter(Encoding& encoding, CharacterCounts& characters) noexcept : Counter(encoding) {
        characters_ = &characters;
    }

    // More of the text. All parts of one text have one form.
    void feed(std::string_view part, TextForm form = TextForm::plain) noexcept;

    // The text has ended; the next one begins.
    void finish() noexcept;

    // The tokens of all finished texts, and of the present one as far as they are decided.
    int64_t tokens() const noexcept { return tokens_; }

    // False: the model's tokenizer may alter some of the text, which is not normal or holds what
    // looks like a special token.
    bool is_exact() const noexcept { return !normal_form_.doubts() && !special_mark_.found(); }

    // No model makes more tokens of a byte: NFC makes up to three bytes of one (UAX #15, of UTF-8).
    int64_t most_per_byte() const noexcept { return normal_form_.doubts() ? 3 : 1; }

    // No fewer than what tokens() will be once the present text is finished, if no more is fed.
    int64_t tokens_at_most() const noexcept;

  private:
    template <Pattern kPattern>
    void consume(PieceBatch& batch, bool is_last) noexcept;
    template <Pattern kPattern>
    const uint8_t* add_pieces(PieceBatch& batch, const uint8_t* p, const uint8_t* end,
                              bool is_last) noexcept;
    template <Pattern kPattern>
    const uint8_t* count_long_piece(const uint8_t* p, const uint8_t* end, bool is_last) noexcept;
    void consume_any(PieceBatch& batch, bool is_last) noexcept;
    void count_characters(const uint8_t* p, const uint8_t* end) noexcept;

    static constexpr size_t kCapacity = 4096;
    static_assert(kCapacity <= CharMap::kMaxBytes);
    // A piece that is longer is not waited for.
    static constexpr size_t kMaxWaiting = kCapacity / 2;
    // Waiting text is looked at again when there is as much more, so that no cut is costly.
    static constexpr size_t kMinMore = 64;

    Encoding* encoding_;
    CharacterCounts* characters_ = nullptr;
    int64_t tokens_ = 0;
    TextDecoder decoder_;
    NormalFormCheck normal_form_;
    SpecialMarkCheck special_mark_;
    size_t size_ = 0;     // bytes in buffer_
    size_t waiting_ = 0;  // of them: already looked at, a piece whose end was not seen
    LongPiece long_piece_;
    int64_t long_bytes_ = 0;  // of the long piece so far
    std::array<uint8_t, kCapacity + kReadableAfterEnd> buffer_{};
};

}  // namespace llm::tokenizer
