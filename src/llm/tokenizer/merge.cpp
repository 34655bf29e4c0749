#include "llm/tokenizer/merge.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace llm::tokenizer {
namespace {

// The lowest of values below 2^31. `number` is a multiple of 4 and not 0; 16-byte aligned.
#if defined(__SSE2__)
__attribute__((always_inline)) inline uint32_t lowest_of(const uint32_t* values,
                                                         size_t number) noexcept {
    const auto lower = [](__m128i a, __m128i b) {
        const __m128i less = _mm_cmplt_epi32(a, b);
        return _mm_or_si128(_mm_and_si128(less, a), _mm_andnot_si128(less, b));
    };
    const auto* four = reinterpret_cast<const __m128i*>(values);
    __m128i low = _mm_load_si128(four);
    for (size_t i = 1; i < number / 4; ++i) {
        low = lower(low, _mm_load_si128(four + i));
    }
    low = lower(low, _mm_shuffle_epi32(low, _MM_SHUFFLE(1, 0, 3, 2)));
    low = lower(low, _mm_shuffle_epi32(low, _MM_SHUFFLE(2, 3, 0, 1)));
    return static_cast<uint32_t>(_mm_cvtsi128_si32(low));
}
#else
inline uint32_t lowest_of(const uint32_t* values, size_t number) noexcept {
    return *std::min_element(values, values + number);
}
#endif

// The tokens of a piece so far, each where its first byte is, and the rank of its merge with the
// next one. A token's id is its rank. Few enough bytes for a bit each. Before the first token and
// after the last one stands one that merges with nothing, so that every one has neighbours and
// there is nothing to mispredict.
template <size_t kPlaces>
class FewParts {
  public:
    // Of up to kPlaces - 1 bytes.
    FewParts() = default;

    void begin(const Vocabulary& vocabulary, const uint8_t* p, size_t bytes) noexcept {
        alive_ = (Set{4} << bytes) - 1;
        std::fill(std::begin(order_), std::end(order_), kNone);
        token_[0] = kNoToken;
        for (size_t i = 0; i < bytes; ++i) {
            token_[i + 1] = vocabulary.byte_token(p[i]);
            order_[i + 1] = order(i + 1, vocabulary.merge_bytes(p[i], p[i + 1]));
        }
        token_[bytes + 1] = kNoToken;
        order_[bytes] = kNone;
    }

    // Merges two tokens, if any can be, and asks for what end_merge() looks up.
    bool begin_merge(const Vocabulary& vocabulary) noexcept {
        const uint32_t lowest = lowest_of(order_, kPlaces);
        if (lowest >= kNone) {
            return false;
        }
        const uint32_t merged = lowest / kPlaces;
        at_ = lowest % kPlaces;
        const Set after = alive_ & (~Set{1} << at_);
        alive_ ^= after & (~after + 1);
        order_[std::countr_zero(after)] = kNone;
        token_[at_] = merged;
        left_ = static_cast<uint32_t>(std::bit_width(alive_ & ((Set{1} << at_) - 1)) - 1);
        right_ = static_cast<uint32_t>(std::countr_zero(after & (after - 1)));
        left_place_ = vocabulary.place_of_pair(token_[left_], merged);
        right_place_ = vocabulary.place_of_pair(merged, token_[right_]);
        vocabulary.prefetch_pair(left_place_);
        vocabulary.prefetch_pair(right_place_);
        return true;
    }

    void end_merge(const Vocabulary& vocabulary) noexcept {
        const uint32_t merged = token_[at_];
        order_[at_] = order(at_, vocabulary.merged_at(right_place_, merged, token_[right_]));
        order_[left_] = order(left_, vocabulary.merged_at(left_place_, token_[left_], merged));
    }

    uint32_t count() const noexcept { return static_cast<uint32_t>(std::popcount(alive_)) - 2; }

  private:
    using Set = uint64_t;

    // Rank and place in one number: of equal ranks the leftmost is the lowest.
    static uint32_t order(size_t i, uint32_t merged) noexcept {
        return merged * kPlaces + static_cast<uint32_t>(i);
    }

    static constexpr uint32_t kNone = kNoToken * kPlaces;

    Set alive_;  // where tokens begin
    // Between begin_merge() and end_merge(): where, and the tokens beside it.
    uint32_t at_;
    uint32_t left_;
    uint32_t right_;
    uint32_t left_place_;
    uint32_t right_place_;
    uint32_t token_[kPlaces + 1];
    alignas(16) uint32_t order_[kPlaces];
};

// The same for more bytes: the tokens lie side by side, so that the search for the lowest rank,
// which is most of the work, reads no more than there is left.
class ManyParts {
  public:
    ManyParts(const Vocabulary& vocabulary, const uint8_t* p, size_t bytes) noexcept
        : vocabulary_(vocabulary), size_(bytes) {
        std::fill(std::begin(rank_), std::end(rank_), kNoToken);
        for (size_t i = 0; i < bytes; ++i) {
            token_[i] = vocabulary.byte_token(p[i]);
        }
        for (size_t i = 0; i + 1 < bytes; ++i) {
            rank_[i] = vocabulary.merge_bytes(p[i], p[i + 1]);
        }
    }

    uint32_t merge_all() noexcept {
        for (uint32_t merged = lowest(); merged != kNoToken; merged = lowest()) {
            const auto i = static_cast<size_t>(std::find(rank_, rank_ + size_, merged) - rank_);
            remove(i);
            token_[i] = merged;
            if (i + 1 < size_) {
                rank_[i] = vocabulary_.merge(merged, token_[i + 1]);
            }
            if (i > 0) {
                rank_[i - 1] = vocabulary_.merge(token_[i - 1], merged);
            }
        }
        return static_cast<uint32_t>(size_);
    }

  private:
    static constexpr size_t padded(size_t size) noexcept { return (size + 3) / 4 * 4; }

    uint32_t lowest() const noexcept { return lowest_of(rank_, padded(size_)); }

    // What follows moves up, and with it one kNoToken more.
    void remove(size_t i) noexcept {
        std::memmove(token_ + i, token_ + i + 1, (size_ - i - 1) * sizeof(*token_));
        std::memmove(rank_ + i, rank_ + i + 1, (size_ - i - 1) * sizeof(*rank_));
        rank_[--size_] = kNoToken;
    }

    const Vocabulary& vocabulary_;
    size_t size_;
    uint32_t token_[kMaxMergeBytes];
    alignas(16) uint32_t rank_[kMaxMergeBytes];  // kNoToken from the last one on
};

}  // namespace

uint32_t count_by_merging(const Vocabulary& vocabulary, const uint8_t* p, size_t bytes) noexcept {
    return ManyParts(vocabulary, p, bytes).merge_all();
}

template <class Key>
void count_by_merging(const Vocabulary& vocabulary, const Key* pieces, size_t number,
                      uint32_t* counts) noexcept {
    FewParts<sizeof(Key)> parts[kMaxMergesAtOnce];
    uint32_t merging[kMaxMergesAtOnce];
    for (size_t i = 0; i < number; ++i) {
        uint8_t text[sizeof(Key)];
        std::memcpy(text, &pieces[i], sizeof(text));
        parts[i].begin(vocabulary, text, text[sizeof(text) - 1]);
        merging[i] = static_cast<uint32_t>(i);
    }
    for (size_t left = number; left != 0;) {
        const size_t before = left;
        left = 0;
        for (size_t i = 0; i < before; ++i) {
            merging[left] = merging[i];
            left += parts[merging[i]].begin_merge(vocabulary) ? 1 : 0;
        }
        for (size_t i = 0; i < left; ++i) {
            parts[merging[i]].end_merge(vocabulary);
        }
    }
    for (size_t i = 0; i < number; ++i) {
        counts[i] = parts[i].count();
    }
}

template void count_by_merging(const Vocabulary&, const NarrowKey*, size_t, uint32_t*) noexcept;
template void count_by_merging(const Vocabulary&, const WideKey*, size_t, uint32_t*) noexcept;

}  // namespace llm::tokenizer
