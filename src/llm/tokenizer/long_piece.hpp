#pragma once

#include <cstddef>
#include <cstdint>

#include "llm/tokenizer/prefix_counter.hpp"
#include "llm/tokenizer/scanner.hpp"

namespace llm::tokenizer {

// A piece that is too long for a buffer: takes its characters as they come and counts them at once.
//
// Where a piece ends may turn on what comes much later: white space ends after its last line break,
// a word (o200k) after the last letter that may be lower case, unless more of its kind follows. So
// two counts run: of the piece if it goes on (`whole_`), and of what follows the last such cut
// (`rest_`).
class LongPiece {
  public:
    explicit LongPiece(const Vocabulary& vocabulary) noexcept
        : vocabulary_(vocabulary), whole_(vocabulary), rest_(vocabulary) {}

    bool active() const noexcept { return kind_ != Kind::none; }

    // The text at p is one unfinished piece, kMinBytes of it at least. Returns how far it was read.
    template <Pattern kPattern>
    const uint8_t* begin(const uint8_t* p) noexcept;

    // Reads on, as far as is decided before `end`, which is the end of the text if `is_last`.
    // Returns how far; the piece has ended if it is no longer active. Valid UTF-8, no character
    // cut.
    template <Pattern kPattern>
    const uint8_t* feed(const uint8_t* p, const uint8_t* end, bool is_last) noexcept;

    // Once it has ended.
    int64_t tokens() const noexcept { return cut_ == 0 ? whole_.count() : cut_ + rest_.count(); }

    static constexpr ptrdiff_t kMinBytes = 64;

  private:
    enum class Kind : uint8_t {
        none,
        letters,      // not o200k: \p{L}+
        upper,        // o200k: [upper]*, so far
        lower,        // o200k: [lower]+
        contraction,  // o200k: after a word
        others,       // [^\s\p{L}\p{N}]+
        line_breaks,  // after those
        spaces,
    };

    // Whether the next character is a part of the piece; moves on to the next kind where it begins
    // one.
    template <Pattern kPattern>
    bool takes(const uint8_t* p, const uint8_t* end) noexcept;
    bool takes_space(const uint8_t* p, const uint8_t* end) const noexcept;
    void take(const uint8_t* p, size_t bytes) noexcept;
    void cut() noexcept;
    void uncut() noexcept;
    const uint8_t* take_contraction(const uint8_t* p, const uint8_t* end) noexcept;
    uint8_t class_at(const uint8_t* p) const noexcept {
        return vocabulary_.character(p).char_class;
    }

    const Vocabulary& vocabulary_;
    Kind kind_ = Kind::none;
    int64_t cut_ = 0;  // tokens up to the last cut; 0: no cut
    PrefixCounter whole_;
    PrefixCounter rest_;
};

}  // namespace llm::tokenizer
