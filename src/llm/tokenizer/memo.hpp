#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "llm/tokenizer/image_layout.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace llm::tokenizer {

// Spreads a seed over as many words as asked for (the SplitMix64 sequence).
inline uint64_t next_random(uint64_t& state) noexcept {
    uint64_t word = state += 0x9E3779B97F4A7C15u;
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9u;
    word = (word ^ word >> 27) * 0x94D049BB133111EBu;
    return word ^ word >> 31;
}

// Remembers the counts of pieces, so that those of daily use lie close together. Fixed in size: a
// set holds kWays keys, a new one takes the place of the oldest. Which set is a key's depends on a
// secret seed, so that nobody can send pieces that all fall into one.
template <class Key>
class Memo {
  public:
    // A narrow key's last byte holds the number of bytes in its low half, the count in the other;
    // longer keys have a byte for each.
    static constexpr bool kNarrow = sizeof(Key) == sizeof(NarrowKey);
    static constexpr size_t kWords = sizeof(Key) / sizeof(uint64_t);
    static constexpr uint32_t kCountShift = kNarrow ? 60 : 48;
    static constexpr uint64_t kMaxCount = kNarrow ? 0x0F : 0xFF;
    static constexpr uint64_t kKeyBits = ~(kMaxCount << kCountShift);  // of the last word

    // Of 2^set_bits sets.
    Memo(uint32_t set_bits, uint64_t seed)
        : set_bits_(set_bits), sets_(std::make_unique<Set[]>(size_t{1} << set_bits)) {
        for (uint64_t& factor : factors_) {
            factor = next_random(seed) | 1;
        }
    }

    size_t set_of(const Key& key) const noexcept {
        uint64_t hash = 0;
        for (size_t i = 0; i < kWords; ++i) {
            hash += key.word[i] * factors_[i];
        }
        return hash >> (64 - set_bits_);
    }

    void prefetch(size_t set) const noexcept { __builtin_prefetch(&sets_[set]); }

    // 0: not known. Nothing to mispredict.
    uint32_t find(const Key& key, size_t set) const noexcept {
        const Key* keys = sets_[set].keys;
        const uint32_t same = ways_of(keys, key);
        const auto way = static_cast<size_t>(std::countr_zero(same | 1u << (kWays - 1)));
        return keys[way].word[kWords - 1] >> kCountShift & kMaxCount & (same == 0 ? 0 : kMaxCount);
    }

    // A key that is there already is there twice then, until one is replaced. 0 < count ≤ its
    // bytes.
    void add(Key key, size_t set, uint32_t count) noexcept {
        auto& keys = sets_[set].keys;
        for (size_t way = kWays - 1; way > 0; --way) {
            keys[way] = keys[way - 1];
        }
        key.word[kWords - 1] |= uint64_t{count} << kCountShift;
        keys[0] = key;
    }

    // The kWays keys of a set, with their counts, for those who compare them at once.
    const Key* keys_of(size_t set) const noexcept { return sets_[set].keys; }

    size_t bytes() const noexcept { return sizeof(Set) << set_bits_; }

  private:
    static constexpr size_t kWays = 4;

    struct alignas(64) Set {
        Key keys[kWays];
    };

    // A bit for each way that holds the key.
#if defined(__SSE2__)
    static uint32_t ways_of(const Key* keys, const Key& key) noexcept {
        static_assert(kWays == 4);
        const __m128i halves =
            _mm_packs_epi16(_mm_packs_epi32(same_words(keys[0], key), same_words(keys[1], key)),
                            _mm_packs_epi32(same_words(keys[2], key), same_words(keys[3], key)));
        const __m128i all = _mm_cmpeq_epi32(halves, _mm_set1_epi8(-1));
        return static_cast<uint32_t>(_mm_movemask_ps(_mm_castsi128_ps(all)));
    }
    // All ones where 32 bits are the same.
    static __m128i same_words(const Key& known, const Key& key) noexcept {
        const auto load = [](const uint64_t* p) {
            return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        };
        const __m128i key_bits = _mm_set_epi64x(static_cast<int64_t>(kKeyBits), -1);
        __m128i same = _mm_cmpeq_epi32(_mm_and_si128(load(known.word + kWords - 2), key_bits),
                                       load(key.word + kWords - 2));
        for (size_t i = 0; i + 2 < kWords; i += 2) {
            same = _mm_and_si128(same, _mm_cmpeq_epi32(load(known.word + i), load(key.word + i)));
        }
        return same;
    }
#else
    static uint32_t ways_of(const Key* keys, const Key& key) noexcept {
        uint32_t ways = 0;
        for (size_t way = 0; way < kWays; ++way) {
            uint64_t difference = (keys[way].word[kWords - 1] & kKeyBits) ^ key.word[kWords - 1];
            for (size_t i = 0; i + 1 < kWords; ++i) {
                difference |= keys[way].word[i] ^ key.word[i];
            }
            ways |= static_cast<uint32_t>(difference == 0) << way;
        }
        return ways;
    }
#endif

    uint32_t set_bits_;
    std::array<uint64_t, kWords> factors_{};
    std::unique_ptr<Set[]> sets_;
};

}  // namespace llm::tokenizer
