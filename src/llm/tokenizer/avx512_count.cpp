#include "llm/tokenizer/avx512.hpp"

#if defined(__x86_64__)

#include <algorithm>
#include <bit>

#include "llm/tokenizer/memo.hpp"
#include "llm/tokenizer/merge.hpp"
#include "llm/tokenizer/vocabulary.hpp"

namespace llm::tokenizer::avx512 {
namespace {

constexpr uint32_t kLanes = 16;

LLM_AVX512 inline __m512i all(uint32_t value) noexcept {
    return _mm512_set1_epi32(static_cast<int>(value));
}

// The merges of 16 pieces at once, one in each lane. A piece's tokens stand where their first bytes
// do, from place 1 on; before the first and after the last stands one that merges with nothing. Of
// every token the rank of its merge with the next one and the place in one number: the lowest is
// the next merge, of equal ranks the leftmost.
template <class Key>
class Lanes {
  public:
    // 0 < number ≤ kLanes.
    LLM_AVX512 Lanes(const MergeTables& tables, const Key* pieces, size_t number) noexcept
        : tables_(tables) {
        const auto present = static_cast<__mmask16>((1u << number) - 1);
        __m512i words[kWords + 1];
        for (uint32_t i = 0; i < kWords; ++i) {
            const __m512i place =
                _mm512_add_epi32(_mm512_mullo_epi32(lanes(), all(kWords)), all(i));
            words[i] = gather(all(0), present, place, pieces);
        }
        words[kWords] = all(0);
        const __m512i bytes = _mm512_srli_epi32(words[kWords - 1], 24);
        alive_ = _mm512_sub_epi32(_mm512_sllv_epi32(all(4), bytes), all(1));
        last_ = _mm512_reduce_max_epu32(bytes) + 1;
        _mm512_store_si512(token_[0], all(kNoToken));
        _mm512_store_si512(token_[last_], all(kNoToken));
        for (uint32_t i = 0; i + 1 < last_; ++i) {
            const unsigned shift = 8 * (i % 4);
            const __m512i byte_on = _mm512_or_si512(
                _mm512_srl_epi32(words[i / 4], _mm_cvtsi32_si128(static_cast<int>(shift))),
                _mm512_sll_epi32(words[i / 4 + 1],
                                 _mm_cvtsi32_si128(static_cast<int>(32 - shift))));
            begin_place(i, bytes, byte_on);
        }
    }

    // Merges two tokens of each piece that has two that merge. Returns which had.
    LLM_AVX512 __mmask16 merge() noexcept {
        const __m512i lowest = lowest_order();
        const __mmask16 merging = _mm512_cmplt_epu32_mask(lowest, all(kNone));
        if (merging == 0) {
            return 0;
        }
        const __m512i at = _mm512_and_si512(lowest, all(kPlaces - 1));
        const __m512i merged = _mm512_srli_epi32(lowest, kPlaceBits);
        const __m512i here = _mm512_sllv_epi32(all(1), at);
        const __m512i before = _mm512_sub_epi32(here, all(1));
        const __m512i after = _mm512_andnot_si512(_mm512_or_si512(here, before), alive_);
        const __m512i next = lowest_bit(after);
        const __m512i right = place_of(lowest_bit(_mm512_xor_si512(after, next)));
        const __m512i left = place_of(_mm512_and_si512(alive_, before));
        alive_ = _mm512_mask_xor_epi32(alive_, merging, alive_, next);

        const __m512i right_token = gather(all(kNoToken), merging, lane_at(right), token_);
        const __m512i left_token = gather(all(kNoToken), merging, lane_at(left), token_);
        const __m512i with_right = look_up(merged, right_token, merging);
        const __m512i with_left = look_up(left_token, merged, merging);
        put(token_, merging, at, merged);
        put(order_, merging, place_of(next), all(kNone));
        put(order_, merging, at, order(with_right, at));
        put(order_, merging, left, order(with_left, left));
        return merging;
    }

    LLM_AVX512 void count(size_t number, uint32_t* counts) const noexcept {
        alignas(64) uint32_t alive[kLanes];
        _mm512_store_si512(alive, alive_);
        for (size_t i = 0; i < number; ++i) {
            counts[i] = static_cast<uint32_t>(__builtin_popcount(alive[i])) - 2;
        }
    }

  private:
    static constexpr uint32_t kPlaces = sizeof(Key);
    static constexpr unsigned kPlaceBits = std::countr_zero(kPlaces);
    static constexpr uint32_t kWords = kPlaces / sizeof(uint32_t);
    static constexpr uint32_t kNone = kNoToken * kPlaces;

    LLM_AVX512 static __m512i lanes() noexcept {
        return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    }
    LLM_AVX512 static __m512i lane_at(__m512i place) noexcept {
        return _mm512_add_epi32(_mm512_mullo_epi32(place, all(kLanes)), lanes());
    }
    LLM_AVX512 static __m512i gather(__m512i otherwise, __mmask16 some, __m512i place,
                                     const void* words) noexcept {
        return _mm512_mask_i32gather_epi32(otherwise, some, place, words, 4);
    }
    LLM_AVX512 static void put(void* words, __mmask16 some, __m512i place, __m512i value) noexcept {
        _mm512_mask_i32scatter_epi32(words, some, lane_at(place), value, 4);
    }
    LLM_AVX512 static __m512i order(__m512i merged, __m512i place) noexcept {
        return _mm512_or_si512(_mm512_slli_epi32(merged, kPlaceBits), place);
    }
    LLM_AVX512 static __m512i lowest_bit(__m512i set) noexcept {
        return _mm512_and_si512(set, _mm512_sub_epi32(all(0), set));
    }
    // Of the highest bit.
    LLM_AVX512 static __m512i place_of(__m512i set) noexcept {
        return _mm512_sub_epi32(all(31), _mm512_lzcnt_epi32(set));
    }
    LLM_AVX512 static __m512i hash(__m512i left, __m512i right,
                                   const uint32_t (&factors)[2]) noexcept {
        return _mm512_add_epi32(_mm512_mullo_epi32(left, all(factors[0])),
                                _mm512_mullo_epi32(right, all(factors[1])));
    }

    // Of byte i, which `byte_on` begins with.
    LLM_AVX512 void begin_place(uint32_t i, __m512i bytes, __m512i byte_on) noexcept {
        const __mmask16 has_byte = _mm512_cmpgt_epu32_mask(bytes, all(i));
        const __mmask16 has_next = _mm512_cmpgt_epu32_mask(bytes, all(i + 1));
        const __m512i token = gather(all(kNoToken), has_byte, _mm512_and_si512(byte_on, all(0xFF)),
                                     tables_.byte_tokens);
        const __m512i merged = gather(all(kNoToken), has_next,
                                      _mm512_and_si512(byte_on, all(0xFFFF)), tables_.byte_pairs);
        _mm512_store_si512(token_[i + 1], token);
        _mm512_store_si512(order_[i + 1], order(merged, all(i + 1)));
    }

    LLM_AVX512 __m512i lowest_order() const noexcept {
        __m512i lowest = _mm512_load_si512(order_[1]);
        for (uint32_t place = 2; place < last_; ++place) {
            lowest = _mm512_min_epu32(lowest, _mm512_load_si512(order_[place]));
        }
        return lowest;
    }

    // What two tokens merge to, as Vocabulary::merge().
    LLM_AVX512 __m512i look_up(__m512i left, __m512i right, __mmask16 wanted) const noexcept {
        const auto shift = [](uint32_t bits) { return _mm_cvtsi32_si128(static_cast<int>(bits)); };
        const __m512i pilot_hash = hash(left, right, kPilotHash);
        const __m512i slot_hash = hash(left, right, kSlotHash);
        const __m512i pilot = _mm512_mask_i32gather_epi32(
            all(0), wanted, _mm512_srl_epi32(pilot_hash, shift(33 - tables_.slot_bits)),
            tables_.pilots, sizeof(PairPilot));
        const __m512i filter_bit =
            _mm512_and_si512(_mm512_srli_epi32(pilot_hash, kFilterShift), all(7));
        const __mmask16 may_merge =
            _mm512_test_epi32_mask(pilot, _mm512_sllv_epi32(all(0x100), filter_bit));
        const __m512i spread =
            _mm512_mullo_epi32(_mm512_and_si512(pilot, all(0xFF)), all(kPilotSpread));
        const __m512i place = _mm512_and_si512(
            _mm512_xor_si512(_mm512_srl_epi32(slot_hash, shift(32 - tables_.slot_bits)), spread),
            all((1u << tables_.slot_bits) - 1));
        const __m256i low =
            merged_at(_mm512_castsi512_si256(place), _mm512_castsi512_si256(left),
                      _mm512_castsi512_si256(right), static_cast<__mmask8>(may_merge));
        const __m256i high =
            merged_at(_mm512_extracti64x4_epi64(place, 1), _mm512_extracti64x4_epi64(left, 1),
                      _mm512_extracti64x4_epi64(right, 1), static_cast<__mmask8>(may_merge >> 8));
        return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }

    LLM_AVX512 __m256i merged_at(__m256i place, __m256i left, __m256i right,
                                 __mmask8 wanted) const noexcept {
        const __m512i none = _mm512_set1_epi64(kNoToken);
        const __m512i key =
            _mm512_or_si512(_mm512_slli_epi64(_mm512_cvtepu32_epi64(left), kTokenBits),
                            _mm512_cvtepu32_epi64(right));
        const __m512i slot = _mm512_mask_i32gather_epi64(_mm512_set1_epi64(-1), wanted, place,
                                                         tables_.slots, sizeof(uint64_t));
        const __mmask8 same = _mm512_cmpeq_epi64_mask(_mm512_srli_epi64(slot, kTokenBits), key);
        return _mm512_cvtepi64_epi32(_mm512_mask_and_epi64(none, same, slot, none));
    }

    const MergeTables tables_;
    uint32_t last_;  // the place after the longest piece
    __m512i alive_;  // where tokens begin
    alignas(64) uint32_t token_[kPlaces + 1][kLanes];
    alignas(64) uint32_t order_[kPlaces][kLanes];
};

}  // namespace

LLM_AVX512 Known count_known(const Memo<NarrowKey>& memo, const uint8_t* text, const uint16_t* ends,
                             size_t number, uint16_t* unknown) noexcept {
    constexpr size_t kAtOnce = 64;
    const __m512i key_bits =
        _mm512_broadcast_i32x4(_mm_set_epi64x(static_cast<int64_t>(Memo<NarrowKey>::kKeyBits), -1));
    __m512i tokens = _mm512_setzero_si512();
    size_t left = 0;
    for (size_t first = 0; first < number; first += kAtOnce) {
        const size_t most = std::min(kAtOnce, number - first);
        NarrowKey keys[kAtOnce];
        const NarrowKey* sets[kAtOnce];
        for (size_t i = 0; i < most; ++i) {
            const size_t begin = ends[first + i];
            const size_t bytes = ends[first + i + 1] - begin;
            keys[i] = narrow_key(text + begin, bytes <= kNarrowBytes ? bytes : 0);
            sets[i] = memo.keys_of(memo.set_of(keys[i]));
            __builtin_prefetch(sets[i]);
        }
        for (size_t i = 0; i < most; ++i) {
            const __m128i key = _mm_loadu_si128(reinterpret_cast<const __m128i*>(keys + i));
            const __m512i known = _mm512_load_si512(sets[i]);
            const uint32_t words = _mm512_cmpeq_epi64_mask(_mm512_and_si512(known, key_bits),
                                                           _mm512_broadcast_i32x4(key));
            const uint32_t ways = words & words >> 1 & 0x55;
            const auto last_word = static_cast<__mmask8>((ways & (0 - ways)) << 1);
            tokens = _mm512_mask_add_epi64(tokens, last_word, tokens,
                                           _mm512_srli_epi64(known, Memo<NarrowKey>::kCountShift));
            unknown[left] = static_cast<uint16_t>(first + i);
            left += ways == 0 || keys[i].word[1] == 0;
        }
    }
    return {_mm512_reduce_add_epi64(tokens), left};
}

// Two groups that do not wait for each other.
template <class Key>
LLM_AVX512 void count_by_merging(const Vocabulary& vocabulary, const Key* pieces, size_t number,
                                 uint32_t* counts) noexcept {
    static_assert(kMaxMergesAtOnce == 2 * kLanes);
    const MergeTables tables = vocabulary.merge_tables();
    Lanes<Key> first(tables, pieces, std::min<size_t>(kLanes, number));
    if (number <= kLanes) {
        while (first.merge() != 0) {
        }
        first.count(number, counts);
        return;
    }
    Lanes<Key> second(tables, pieces + kLanes, number - kLanes);
    while ((first.merge() | second.merge()) != 0) {
    }
    first.count(kLanes, counts);
    second.count(number - kLanes, counts + kLanes);
}

template void count_by_merging(const Vocabulary&, const NarrowKey*, size_t, uint32_t*) noexcept;
template void count_by_merging(const Vocabulary&, const WideKey*, size_t, uint32_t*) noexcept;

bool is_supported() noexcept {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2");
}

}  // namespace llm::tokenizer::avx512

#endif
