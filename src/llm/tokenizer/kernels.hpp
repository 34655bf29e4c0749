#pragma once

#include <cstddef>
#include <cstdint>

#include "llm/tokenizer/image_layout.hpp"
#include "llm/tokenizer/scanner.hpp"
#include "llm/tokenizer/text_decoder.hpp"

namespace llm::tokenizer {

class CharMap;
class PieceBatch;
class Vocabulary;
struct CharSets;
template <class Key>
class Memo;

struct Known {
    int64_t tokens;
    size_t unknown;  // pieces
};

// The inner loops, which gain from wide registers. All tables of them do the same; what they are
// made of, only some processors have.
struct Kernels {
    // The size of a beginning that is well-formed UTF-8 and has no escape. It may be less than all
    // there is of it, by a few dozen bytes.
    size_t (*plain_bytes)(const uint8_t* text, size_t bytes, TextForm form) noexcept;

    // Fills in the sets of so many stretches, as far as ASCII is concerned, `high` and
    // `continuation`; the others are empty.
    void (*classify)(const uint8_t* text, size_t stretches, CharSets* sets) noexcept;

    // Adds the characters that are not ASCII, and the cuts. `high` ends with the text.
    void (*classify_high)(const Vocabulary& vocabulary, Pattern pattern, const uint8_t* text,
                          size_t stretches, CharSets* sets) noexcept;

    // Adds the pieces from batch.end() on that can be found in blocks of 64 bytes, up to one that
    // cannot.
    void (*add_blocks)(Pattern pattern, const CharMap& map, const uint8_t* text, size_t size,
                       PieceBatch& batch) noexcept;

    // The pieces of a text that lie between ends[0], ends[1] … ends[number]: the tokens of those
    // that a memo knows, and the numbers of the others, and of all of more than kNarrowBytes.
    Known (*count_known)(const Memo<NarrowKey>& memo, const uint8_t* text, const uint16_t* ends,
                         size_t number, uint16_t* unknown) noexcept;

    // The tokens of each of some pieces by merging; 0 < number ≤ kMaxMergesAtOnce.
    void (*count_narrow)(const Vocabulary& vocabulary, const NarrowKey* pieces, size_t number,
                         uint32_t* counts) noexcept;
    void (*count_wide)(const Vocabulary& vocabulary, const WideKey* pieces, size_t number,
                       uint32_t* counts) noexcept;
};

// Of any processor.
const Kernels& plain_kernels() noexcept;

// The best that this processor can run.
const Kernels& best_kernels() noexcept;

}  // namespace llm::tokenizer
