#pragma once

#include <cstddef>
#include <cstdint>

namespace llm::tokenizer {

// What the patterns of the encodings ask of a code point; a set of these bits.
enum CharClass : uint8_t {
    kLetter = 1,      // \p{L}
    kNumber = 2,      // \p{N}
    kSpace = 4,       // \s, which is Unicode's White_Space
    kUpper = 8,       // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
    kLower = 16,      // [\p{Ll}\p{Lm}\p{Lo}\p{M}]
    kMark = 32,       // \p{M}
    kLineBreak = 64,  // [\r\n]
};

inline constexpr uint8_t kEitherCase = kUpper | kLower;

// The bytes of a UTF-8 sequence, from its first byte. The text is valid UTF-8.
inline size_t utf8_length(uint8_t lead) noexcept {
    return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

inline uint32_t decode_utf8(const uint8_t* p) noexcept {
    if (p[0] < 0x80) {
        return p[0];
    }
    if (p[0] < 0xE0) {
        return (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu);
    }
    if (p[0] < 0xF0) {
        return (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
    }
    return (p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
}

}  // namespace llm::tokenizer
