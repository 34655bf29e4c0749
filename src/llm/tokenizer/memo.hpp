#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "llm/tokenizer/image_layout.hpp"

namespace llm::tokenizer {

// Spreads a seed over as many words as asked for (the SplitMix64 sequence).
inline uint64_t next_random(uint64_t& state) noexcept {
    uint64_t word = state += 0x9E3779B97F4A7C15u;
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9u;
    word = (word ^ word >> 27) * 0x94D049BB133111EBu;
    return word ^ word >> 31;
}

// Remembers the counts of pieces that are no single token. Fixed in size: a set holds kWays keys,
// the newest takes the place of the one that was asked for least lately. Which set is a key's
// depends on a secret seed, so that nobody can send pieces that all fall into one.
template <class Key>
class Memo {
  public:
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

    // 0: not known. A find makes the key the newest of its set.
    uint32_t find(const Key& key, size_t set) noexcept {
        auto& keys = sets_[set].keys;
        for (size_t way = 0; way < kWays; ++way) {
            if (same(keys[way], key)) {
                const Key found = keys[way];
                for (; way > 0; --way) {
                    keys[way] = keys[way - 1];
                }
                keys[0] = found;
                return found.word[kWords - 1] >> kCountShift & kMaxCount;
            }
        }
        return 0;
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

    size_t bytes() const noexcept { return sizeof(Set) << set_bits_; }

  private:
    // A narrow key's last byte holds the number of bytes in its low half, the count in the other; a
    // wide key has a byte for each.
    static constexpr bool kNarrow = sizeof(Key) == sizeof(NarrowKey);
    static constexpr size_t kWords = sizeof(Key) / sizeof(uint64_t);
    static constexpr uint32_t kCountShift = kNarrow ? 60 : 48;
    static constexpr uint64_t kMaxCount = kNarrow ? 0x0F : 0xFF;
    static constexpr size_t kWays = 4;

    struct alignas(64) Set {
        std::array<Key, kWays> keys{};
    };

    static bool same(const Key& known, const Key& key) noexcept {
        uint64_t difference =
            (known.word[kWords - 1] & ~(kMaxCount << kCountShift)) ^ key.word[kWords - 1];
        for (size_t i = 0; i + 1 < kWords; ++i) {
            difference |= known.word[i] ^ key.word[i];
        }
        return difference == 0;
    }

    uint32_t set_bits_;
    std::array<uint64_t, kWords> factors_{};
    std::unique_ptr<Set[]> sets_;
};

}  // namespace llm::tokenizer
