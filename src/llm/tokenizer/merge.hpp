#pragma once

#include <cstddef>
#include <cstdint>

#include "llm/tokenizer/vocabulary.hpp"

namespace llm::tokenizer {

// Up to here the merges' cost, which grows with the square of the bytes, is below that of anything
// cleverer.
inline constexpr size_t kMaxMergeBytes = 512;

// The tokens of a piece of 1 … kMaxMergeBytes bytes, by the definition of byte-pair encoding:
// always the merge of the lowest rank, of equal ones the leftmost.
uint32_t count_by_merging(const Vocabulary& vocabulary, const uint8_t* p, size_t bytes) noexcept;

// The same for several pieces at once, whose waiting for memory overlaps.
inline constexpr size_t kMaxMergesAtOnce = 32;
template <class Key>
void count_by_merging(const Vocabulary& vocabulary, const Key* pieces, size_t number,
                      uint32_t* counts) noexcept;

}  // namespace llm::tokenizer
