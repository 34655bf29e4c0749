#pragma once

#include <cstddef>
#include <cstdint>

#include "llm/tokenizer/char_sets.hpp"
#include "llm/tokenizer/kernels.hpp"

#if defined(__x86_64__)

// GCC 12 takes the operands of its own intrinsics that are undefined on purpose for a mistake.
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#define LLM_AVX512 \
    __attribute__((target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,bmi,bmi2,lzcnt,popcnt")))

// The kernels of processors with AVX-512 (of 2017 and later: F, BW, CD, DQ, VL); see Kernels.
namespace llm::tokenizer::avx512 {

bool is_supported() noexcept;

size_t plain_bytes(const uint8_t* text, size_t bytes, TextForm form) noexcept;
void classify(const uint8_t* text, size_t stretches, CharSets* sets) noexcept;
void classify_high(const Vocabulary& vocabulary, Pattern pattern, const uint8_t* text,
                   size_t stretches, CharSets* sets) noexcept;
void add_blocks(Pattern pattern, const CharMap& map, const uint8_t* text, size_t size,
                PieceBatch& batch) noexcept;
Known count_known(const Memo<NarrowKey>& memo, const uint8_t* text, const uint16_t* ends,
                  size_t number, uint16_t* unknown) noexcept;
template <class Key>
void count_by_merging(const Vocabulary& vocabulary, const Key* pieces, size_t number,
                      uint32_t* counts) noexcept;

}  // namespace llm::tokenizer::avx512

#endif
