#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "llm/tokenizer/vocabulary.hpp"

namespace llm::tokenizer {

// The ways to cut text into pieces. qwen2 is cl100k with every digit a piece of its own.
enum class Pattern : uint8_t { cl100k, o200k, qwen2 };

// That of an encoding ("o200k_base").
Pattern pattern_of(std::string_view encoding) noexcept;

// Numbers are cut into so many digits each.
template <Pattern kPattern>
inline constexpr int kMaxDigits = kPattern == Pattern::qwen2 ? 1 : 3;

// Cuts valid UTF-8 into the pieces that the encoding's regular expression finds; any text, one code
// point after another. (A PieceBlock decides the plain cases sooner.)
template <Pattern kPattern>
class Scanner {
  public:
    explicit Scanner(const Vocabulary& vocabulary) noexcept : vocabulary_(vocabulary) {}

    // The end of the piece that begins at p < end.
    const uint8_t* piece(const uint8_t* p, const uint8_t* end) noexcept;

    // Whether that depends on what follows after `end`: the answer holds only if nothing does.
    bool met_end() const noexcept { return met_end_; }

  private:
    // The ends of the two ways to go on with a word at p: [upper]*[lower]+ and [upper]+[lower]*,
    // tried in this order; p where one fails.
    struct CasedWord {
        const uint8_t* lower_ended;
        const uint8_t* upper_begun;
    };

    const uint8_t* word(const uint8_t* p, uint8_t first_class) noexcept;
    CasedWord cased_word(const uint8_t* p) noexcept;
    const uint8_t* contraction(const uint8_t* p) noexcept;
    const uint8_t* others(const uint8_t* p) noexcept;
    const uint8_t* spaces(const uint8_t* p) noexcept;

    const uint8_t* run(const uint8_t* p, uint8_t classes) noexcept;

    // 0 at the end.
    uint8_t class_at(const uint8_t* p) noexcept {
        if (p == end_) {
            met_end_ = true;
            return 0;
        }
        return vocabulary_.character(p).char_class;
    }
    // Neither white space nor letter nor number; false at the end.
    bool is_other(const uint8_t* p) noexcept {
        return (class_at(p) & (kSpace | kLetter | kNumber)) == 0 && p != end_;
    }

    const Vocabulary& vocabulary_;
    const uint8_t* end_ = nullptr;
    bool met_end_ = false;
};

// The bytes of a contraction ('s 't 're 've 'm 'll 'd in either case) that text begins with, 0 if
// with none. Its s may be the long one, since that is another case of s.
size_t contraction_bytes(const uint8_t* p, const uint8_t* end) noexcept;

inline constexpr size_t kMaxContractionBytes = 3;

}  // namespace llm::tokenizer
