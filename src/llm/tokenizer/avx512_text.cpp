#include "llm/tokenizer/avx512.hpp"

#if defined(__x86_64__)

#include <algorithm>

#include "llm/tokenizer/piece_block.hpp"
#include "llm/tokenizer/vocabulary.hpp"

namespace llm::tokenizer::avx512 {
namespace {

LLM_AVX512 inline uint64_t in_range(__m512i bytes, char first, char last) noexcept {
    return _mm512_cmple_epu8_mask(_mm512_sub_epi8(bytes, _mm512_set1_epi8(first)),
                                  _mm512_set1_epi8(static_cast<char>(last - first)));
}

LLM_AVX512 inline uint64_t equal(__m512i bytes, char c) noexcept {
    return _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(c));
}

// The first byte of the first sequence in a chunk that is not well-formed (Unicode, table 3-7) or
// goes on after it; 64 if there is none.
LLM_AVX512 size_t first_unsound(__m512i chunk, size_t bytes) noexcept {
    const uint64_t two = in_range(chunk, '\xC2', '\xDF');
    const uint64_t three = in_range(chunk, '\xE0', '\xEF');
    const uint64_t four = in_range(chunk, '\xF0', '\xF4');
    const uint64_t leads = two | three | four;
    const uint64_t wanted = leads << 1 | (three | four) << 2 | four << 3;
    const uint64_t continuations = in_range(chunk, '\x80', '\xBF');
    const uint64_t broken = (_mm512_movepi8_mask(chunk) ^ (leads | continuations)) |
                            (wanted ^ continuations) |
                            (equal(chunk, '\xE0') << 1 & in_range(chunk, '\x80', '\x9F')) |
                            (equal(chunk, '\xED') << 1 & in_range(chunk, '\xA0', '\xBF')) |
                            (equal(chunk, '\xF0') << 1 & in_range(chunk, '\x80', '\x8F')) |
                            (equal(chunk, '\xF4') << 1 & in_range(chunk, '\x90', '\xBF'));
    const uint64_t last = uint64_t{1} << (bytes - 1);
    uint64_t unsound = (leads & last) | ((three | four) & last >> 1) | (four & last >> 2);
    if (broken != 0) {
        const uint64_t first = broken & (0 - broken);
        const uint64_t before = leads & (first - 1);
        unsound |= before == 0 ? first : uint64_t{1} << (63 - _lzcnt_u64(before));
    }
    return _tzcnt_u64(unsound);
}

LLM_AVX512 inline __m512i bits_of(__m512i word, unsigned shift, int mask) noexcept {
    return _mm512_and_si512(_mm512_srli_epi32(word, shift), _mm512_set1_epi32(mask));
}

// Where the characters begin that are not ASCII.
LLM_AVX512 size_t list_high(const CharSets* sets, size_t stretches, uint32_t* begins) noexcept {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t number = 0;
    for (size_t at = 0; at < stretches * CharMap::kStretch; at += 16) {
        const CharSets& its = sets[at / CharMap::kStretch];
        const auto leads =
            static_cast<__mmask16>((its.high & ~its.continuation) >> at % CharMap::kStretch);
        const __m512i places = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(at)));
        _mm512_storeu_si512(begins + number, _mm512_maskz_compress_epi32(leads, places));
        number += static_cast<size_t>(__builtin_popcount(leads));
    }
    return number;
}

// 16 characters that are not ASCII.
struct Characters {
    __m512i begin;
    __m512i end;
    __m512i code_point;
};

LLM_AVX512 inline __m512i append(__m512i bits, __m512i six) noexcept {
    return _mm512_or_si512(_mm512_slli_epi32(bits, 6), six);
}

LLM_AVX512 Characters decode(const uint8_t* text, __m512i begin, __mmask16 some) noexcept {
    const __m512i word = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), some, begin, text, 1);
    const __m512i lead = bits_of(word, 0, 0xFF);
    const __mmask16 three = _mm512_cmpge_epu32_mask(lead, _mm512_set1_epi32(0xE0));
    const __mmask16 four = _mm512_cmpge_epu32_mask(lead, _mm512_set1_epi32(0xF0));
    const __m512i of_two = append(bits_of(word, 0, 0x1F), bits_of(word, 8, 0x3F));
    const __m512i of_three = append(bits_of(of_two, 0, 0x3FF), bits_of(word, 16, 0x3F));
    const __m512i of_four = append(bits_of(of_three, 0, 0x7FFF), bits_of(word, 24, 0x3F));
    __m512i code_point = _mm512_mask_mov_epi32(of_two, three, of_three);
    code_point = _mm512_mask_mov_epi32(code_point, four, of_four);
    __m512i end = _mm512_add_epi32(begin, _mm512_set1_epi32(2));
    end = _mm512_mask_add_epi32(end, three, end, _mm512_set1_epi32(1));
    end = _mm512_mask_add_epi32(end, four, end, _mm512_set1_epi32(1));
    return {begin, end, code_point};
}

LLM_AVX512 __m512i classes_of(const CharTables& tables, __m512i code_point,
                              __mmask16 some) noexcept {
    const __m512i none = _mm512_setzero_si512();
    const __m512i block =
        _mm512_mask_i32gather_epi32(none, some, _mm512_srli_epi32(code_point, 6), tables.index, 2);
    const __m512i place = _mm512_add_epi32(_mm512_slli_epi32(bits_of(block, 0, 0xFFFF), 6),
                                           bits_of(code_point, 0, 63));
    return bits_of(_mm512_mask_i32gather_epi32(none, some, place, tables.blocks, 1), 0, 0xFF);
}

LLM_AVX512 __mmask16 have_joint(const CharTables& tables, Joint kind, __m512i left, __m512i right,
                                __mmask16 some) noexcept {
    const __m512i hash = _mm512_add_epi32(
        _mm512_add_epi32(_mm512_mullo_epi32(left, _mm512_set1_epi32(kJointHash[0])),
                         _mm512_mullo_epi32(right, _mm512_set1_epi32(kJointHash[1]))),
        _mm512_set1_epi32(static_cast<int>(static_cast<uint32_t>(kind) * kJointHash[2])));
    const __m512i bit = _mm512_srli_epi32(hash, 32 - kJointBits);
    const __m512i words = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), some,
                                                      _mm512_srli_epi32(bit, 5), tables.joints, 4);
    return _mm512_test_epi32_mask(words,
                                  _mm512_sllv_epi32(_mm512_set1_epi32(1), bits_of(bit, 0, 31)));
}

// Which characters nothing joins to the one before; see Vocabulary::may_join().
LLM_AVX512 __mmask16 cuts(const CharTables& tables, const Characters& before, const Characters& its,
                          __mmask16 some) noexcept {
    const __m512i left = _mm512_alignr_epi32(its.code_point, before.code_point, 15);
    const __m512i right = its.code_point;
    const __m512i first_of_three = _mm512_set1_epi32(0x800);
    some &= _mm512_cmpeq_epi32_mask(_mm512_alignr_epi32(its.end, before.end, 15), its.begin) &
            _mm512_cmpge_epu32_mask(left, first_of_three) &
            _mm512_cmpge_epu32_mask(right, first_of_three);
    if (some == 0) {
        return 0;
    }
    const __m512i last = _mm512_or_si512(bits_of(left, 0, 0x3F), _mm512_set1_epi32(0x80));
    const __m512i lead = _mm512_mask_mov_epi32(
        _mm512_or_si512(_mm512_srli_epi32(right, 12), _mm512_set1_epi32(0xE0)),
        _mm512_cmpge_epu32_mask(right, _mm512_set1_epi32(0x10000)),
        _mm512_or_si512(_mm512_srli_epi32(right, 18), _mm512_set1_epi32(0xF0)));
    return static_cast<__mmask16>(some & ~have_joint(tables, Joint::whole, left, right, some) &
                                  ~have_joint(tables, Joint::cut_right, left, lead, some) &
                                  ~have_joint(tables, Joint::cut_left, last, right, some));
}

constexpr uint8_t kCut = 128;  // a bit that no CharClass has
static_assert((kLetter | kNumber | kSpace | kUpper | kLower | kMark | kLineBreak) < kCut);

// The class of every byte that is not ASCII, and kCut.
LLM_AVX512 void write_classes(const CharTables& tables, const uint8_t* text, const CharSets* sets,
                              size_t stretches, uint8_t* classes) noexcept {
    uint32_t begins[CharMap::kMaxBytes / 2 + 2 * 16];
    const size_t number = list_high(sets, stretches, begins);
    Characters before{};
    for (size_t i = 0; i < number; i += 16) {
        const auto some = static_cast<__mmask16>((1u << std::min<size_t>(16, number - i)) - 1);
        const Characters its = decode(text, _mm512_loadu_si512(begins + i), some);
        const __m512i all_bytes = _mm512_mullo_epi32(classes_of(tables, its.code_point, some),
                                                     _mm512_set1_epi32(0x01010101));
        const __m512i with_cut = _mm512_mask_or_epi32(all_bytes, cuts(tables, before, its, some),
                                                      all_bytes, _mm512_set1_epi32(kCut));
        // What a short character's four bytes are too many, the next one overwrites.
        _mm512_mask_i32scatter_epi32(classes, some, its.begin, with_cut, 1);
        before = its;
    }
}

}  // namespace

LLM_AVX512 size_t plain_bytes(const uint8_t* text, size_t bytes, TextForm form) noexcept {
    const char escape = form == TextForm::json ? '\\' : '\xFF';  // which is no UTF-8 anyway
    for (size_t at = 0;;) {
        const size_t size = std::min<size_t>(64, bytes - at);
        const __m512i chunk = _mm512_maskz_loadu_epi8(_bzhi_u64(~uint64_t{0}, size), text + at);
        const uint64_t escapes = equal(chunk, escape);
        const uint64_t high = _mm512_movepi8_mask(chunk);
        if ((escapes | high) == 0 && size == 64) {
            at += 64;
            continue;
        }
        size_t plain = std::min<size_t>(size, _tzcnt_u64(escapes));
        if (high != 0) {
            plain = std::min(plain, first_unsound(chunk, size));
        }
        at += plain;
        if (plain <= 64 - 4) {
            return at;
        }
    }
}

LLM_AVX512 void classify(const uint8_t* text, size_t stretches, CharSets* sets) noexcept {
    for (; stretches > 0; --stretches, ++sets, text += CharMap::kStretch) {
        const __m512i bytes = _mm512_loadu_si512(text);
        const uint64_t blank = equal(bytes, ' ');
        const uint64_t high = _mm512_movepi8_mask(bytes);
        sets->upper = in_range(bytes, 'A', 'Z');
        sets->lower = in_range(bytes, 'a', 'z');
        sets->number = in_range(bytes, '0', '9');
        sets->space = in_range(bytes, '\t', '\r') | blank;
        sets->line_break = equal(bytes, '\n') | equal(bytes, '\r');
        sets->blank = blank;
        sets->apostrophe = equal(bytes, '\'');
        sets->slash = equal(bytes, '/');
        sets->high = high;
        sets->continuation = high & ~_mm512_movepi8_mask(_mm512_slli_epi16(bytes, 1));
        sets->mark = 0;
        sets->cut = 0;
    }
}

LLM_AVX512 void classify_high(const Vocabulary& vocabulary, Pattern pattern, const uint8_t* text,
                              size_t stretches, CharSets* sets) noexcept {
    uint8_t classes[CharMap::kMaxBytes + CharMap::kStretch];
    write_classes(vocabulary.char_tables(), text, sets, stretches, classes);
    for (size_t i = 0; i < stretches; ++i) {
        CharSets& its = sets[i];
        if (its.high == 0) {
            continue;
        }
        const __m512i bytes = _mm512_loadu_si512(classes + i * CharMap::kStretch);
        const auto with = [&](uint8_t bit) LLM_AVX512 {
            return _mm512_mask_test_epi8_mask(its.high, bytes,
                                              _mm512_set1_epi8(static_cast<char>(bit)));
        };
        if (pattern == Pattern::o200k) {
            its.upper |= with(kUpper);
            its.lower |= with(kLower);
            its.mark = with(kMark);
        } else {
            its.lower |= with(kLetter);
        }
        its.number |= with(kNumber);
        its.space |= with(kSpace);
        its.cut = with(kCut);
    }
}

// The same as anywhere, but for the instructions that it is made of.
LLM_AVX512 __attribute__((flatten)) void add_blocks(Pattern pattern, const CharMap& map,
                                                    const uint8_t* text, size_t size,
                                                    PieceBatch& batch) noexcept {
    switch (pattern) {
        case Pattern::cl100k:
            return tokenizer::add_blocks<Pattern::cl100k>(map, text, size, batch);
        case Pattern::o200k:
            return tokenizer::add_blocks<Pattern::o200k>(map, text, size, batch);
        case Pattern::qwen2:
            return tokenizer::add_blocks<Pattern::qwen2>(map, text, size, batch);
    }
}

}  // namespace llm::tokenizer::avx512

#endif
