#pragma once

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

// The bytes of a JSON text that strings are made of. A part of json_scan.cpp.
namespace llm::json {

constexpr uint8_t byte(char c) {
    return static_cast<uint8_t>(c);
}

inline constexpr uint8_t kNoHex = 0xff;

inline constexpr std::array<uint8_t, 256> kHex = [] {
    std::array<uint8_t, 256> values{};
    values.fill(kNoHex);
    for (uint8_t i = 0; i < 10; ++i) {
        values['0' + i] = i;
    }
    for (uint8_t i = 0; i < 6; ++i) {
        values['a' + i] = values['A' + i] = static_cast<uint8_t>(10 + i);
    }
    return values;
}();

// What the letter behind a backslash stands for; 0: it may not stand there, or is a u.
inline constexpr std::array<char, 256> kEscape = [] {
    std::array<char, 256> values{};
    values['"'] = '"';
    values['\\'] = '\\';
    values['/'] = '/';
    values['b'] = '\b';
    values['f'] = '\f';
    values['n'] = '\n';
    values['r'] = '\r';
    values['t'] = '\t';
    return values;
}();

inline bool holds_hex4(const char* p) {
    return (kHex[byte(p[0])] | kHex[byte(p[1])] | kHex[byte(p[2])] | kHex[byte(p[3])]) < 0x10;
}

// Printable ASCII that is neither quote nor backslash.
constexpr bool is_plain(char c) {
    return byte(c) >= 0x20 && byte(c) < 0x80 && c != '"' && c != '\\';
}

// Whether all of a block is plain; if not, `p` goes on to the first byte that is not.
#ifdef __SSE2__
inline constexpr ptrdiff_t kBlock = 16;

inline bool pass_block(const char*& p) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    // Bytes from 0x80 are negative, and so less than a space too.
    const __m128i special = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('"')),
                                                      _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'))),
                                         _mm_cmplt_epi8(block, _mm_set1_epi8(' ')));
    const auto mask = static_cast<unsigned>(_mm_movemask_epi8(special));
    p += mask == 0 ? kBlock : std::countr_zero(mask);
    return mask == 0;
}
#else
inline constexpr ptrdiff_t kBlock = 8;

// The high bit of every byte that is zero. (Those above a zero byte may be set too.)
constexpr uint64_t zero_bytes(uint64_t word) {
    return (word - 0x0101010101010101) & ~word & 0x8080808080808080;
}

inline bool pass_block(const char*& p) {
    uint64_t word;
    std::memcpy(&word, p, sizeof(word));
    const uint64_t special = (word & 0x8080808080808080) | zero_bytes(word & 0xe0e0e0e0e0e0e0e0) |
                             zero_bytes(word ^ 0x2222222222222222) |
                             zero_bytes(word ^ 0x5c5c5c5c5c5c5c5c);
    if (special == 0) {
        p += kBlock;
        return true;
    }
    p = std::find_if_not(p, p + kBlock, is_plain);
    return false;
}
#endif

inline const char* pass_plain(const char* p, const char* end) {
    while (end - p >= kBlock) {
        if (!pass_block(p)) {
            return p;
        }
    }
    return std::find_if_not(p, end, is_plain);
}

constexpr bool in(char c, uint8_t low, uint8_t high) {
    return byte(c) >= low && byte(c) <= high;
}

constexpr bool continues(char c) {
    return (byte(c) & 0xc0) == 0x80;
}

// Bytes of the well-formed sequence at `p`, which is not ASCII (Unicode, table 3-7); 0: none.
inline ptrdiff_t sequence_size(const char* p, const char* end) {
    const uint8_t lead = byte(*p);
    const ptrdiff_t left = end - p;
    if (lead >= 0xe1 && lead <= 0xef && lead != 0xed) {
        return left >= 3 && continues(p[1]) && continues(p[2]) ? 3 : 0;
    }
    if (lead < 0xe0) {
        return lead >= 0xc2 && left >= 2 && continues(p[1]) ? 2 : 0;
    }
    if (lead == 0xe0 || lead == 0xed) {
        const bool second =
            left >= 3 && (lead == 0xe0 ? in(p[1], 0xa0, 0xbf) : in(p[1], 0x80, 0x9f));
        return second && continues(p[2]) ? 3 : 0;
    }
    const uint8_t low = lead == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xf4 ? 0x8f : 0xbf;
    const bool whole = lead <= 0xf4 && left >= 4 && in(p[1], low, high);
    return whole && continues(p[2]) && continues(p[3]) ? 4 : 0;
}

}  // namespace llm::json
