#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "llm/tokenizer/kernels.hpp"
#include "llm/tokenizer/scanner.hpp"
#include "llm/tokenizer/vocabulary.hpp"

namespace llm::tokenizer {

// What the bytes of a stretch of 64 are: bit i of a set stands for byte i. All the bytes of a
// character are in the sets of its class.
struct CharSets {
    uint64_t upper;  // o200k: kUpper; others: ASCII capitals
    uint64_t lower;  // o200k: kLower; others: the other letters
    uint64_t number;
    uint64_t space;
    uint64_t line_break;
    uint64_t blank;  // the character ' '
    uint64_t apostrophe;
    uint64_t slash;
    uint64_t high;          // not ASCII
    uint64_t continuation;  // of those, all but the first byte of each character
    uint64_t mark;          // o200k: kMark
    uint64_t cut;           // a character begins here that nothing joins to the one before it
};

// So many bytes can be read after the end of a text, whatever they are.
inline constexpr size_t kReadableAfterEnd = 64;

// The sets of a whole text.
class CharMap {
  public:
    static constexpr size_t kMaxBytes = 4096;
    static constexpr size_t kStretch = kReadableAfterEnd;

    // Valid UTF-8 of at most kMaxBytes.
    void fill(const Kernels& kernels, const Vocabulary& vocabulary, Pattern pattern,
              const uint8_t* text, size_t bytes) noexcept;

    // The sets of the kStretch bytes from `offset` on; after the text's end there is anything.
    CharSets at(size_t offset) const noexcept;

    // The first cut in (offset, end), or `end`.
    size_t next_cut(size_t offset, size_t end) const noexcept;

  private:
    // One more, for the last stretch to look beyond.
    std::array<CharSets, kMaxBytes / kStretch + 1> sets_;
};

inline CharSets CharMap::at(size_t offset) const noexcept {
    const CharSets& first = sets_[offset / kStretch];
    const CharSets& second = sets_[offset / kStretch + 1];
    const size_t shift = offset % kStretch;
    const auto both = [&](uint64_t CharSets::*set) {
        return first.*set >> shift | second.*set << 1 << (kStretch - 1 - shift);
    };
    CharSets sets{both(&CharSets::upper),
                  both(&CharSets::lower),
                  both(&CharSets::number),
                  both(&CharSets::space),
                  both(&CharSets::line_break),
                  both(&CharSets::blank),
                  both(&CharSets::apostrophe),
                  both(&CharSets::slash),
                  both(&CharSets::high),
                  0,
                  0,
                  0};
    if (sets.high != 0) {
        sets.continuation = both(&CharSets::continuation);
        sets.mark = both(&CharSets::mark);
        sets.cut = both(&CharSets::cut);
    }
    return sets;
}

}  // namespace llm::tokenizer
