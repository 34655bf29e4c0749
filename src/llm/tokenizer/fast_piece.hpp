#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "llm/tokenizer/ascii_window.hpp"
#include "llm/tokenizer/scanner.hpp"

namespace llm::tokenizer {

// So many bytes can be read after the end of the text, whatever they are.
inline constexpr size_t kReadableAfterEnd = 64;

namespace fast {

// The number of set bits below the first clear one.
inline uint32_t leading(uint32_t bits) noexcept {
    return static_cast<uint32_t>(std::countr_one(bits));
}

enum Start : uint8_t {
    kOther = 0,  // may stand before a word, and begins a run of its like
    kBlank,      // white space that may stand before a word
    kBreak,
    kDigit,
    kAlpha,
    kHigh,
};

inline constexpr std::array<Start, 256> kStarts = [] {
    std::array<Start, 256> starts{};
    for (size_t c = 0; c < 256; ++c) {
        const bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        const bool blank = c == ' ' || (c >= '\t' && c <= '\r');
        starts[c] = c >= 0x80                ? kHigh
                    : alpha                  ? kAlpha
                    : c >= '0' && c <= '9'   ? kDigit
                    : c == '\n' || c == '\r' ? kBreak
                    : blank                  ? kBlank
                                             : kOther;
    }
    return starts;
}();

// nullptr: longer than a window, or next to a byte that is not ASCII.
template <Pattern kPattern>
const uint8_t* word(const uint8_t* letters, const uint8_t* end) noexcept {
    const AsciiWindow window(letters);
    uint32_t bytes;
    if constexpr (kPattern != Pattern::o200k) {
        bytes = leading(window.letters());
    } else {
        // No ASCII letter is of both cases, so capitals and then small letters is all there is to
        // it.
        const uint32_t capitals = leading(window.upper());
        bytes = capitals + leading(window.lower() >> capitals);
    }
    if (bytes >= AsciiWindow::kBytes || letters[bytes] >= 0x80) {
        return nullptr;
    }
    if constexpr (kPattern == Pattern::o200k) {
        if (letters[bytes] == '\'') {
            return letters + bytes + contraction_bytes(letters + bytes, end);
        }
    }
    return letters + bytes;
}

template <Pattern kPattern>
const uint8_t* number(const uint8_t* p) noexcept {
    int digits = 1;
    while (digits < kMaxDigits<kPattern> && kStarts[p[digits]] == kDigit) {
        ++digits;
    }
    return digits < kMaxDigits<kPattern> && p[digits] >= 0x80 ? nullptr : p + digits;
}

template <Pattern kPattern>
const uint8_t* others(const uint8_t* p, const uint8_t* end) noexcept {
    const AsciiWindow window(p);
    const uint32_t rest = window.letters() | window.digits() | window.spaces() | window.high();
    const auto bytes = static_cast<uint32_t>(std::countr_zero(rest | 1u << AsciiWindow::kBytes));
    if (bytes == AsciiWindow::kBytes || p[bytes] >= 0x80) {
        return nullptr;
    }
    p += bytes;
    while (p < end && (kStarts[*p] == kBreak || (kPattern == Pattern::o200k && *p == '/'))) {
        ++p;
    }
    return p;
}

inline const uint8_t* spaces(const uint8_t* p) noexcept {
    const AsciiWindow first(p);
    const AsciiWindow second(p + AsciiWindow::kBytes);
    const uint64_t run = first.spaces() | uint64_t{second.spaces()} << AsciiWindow::kBytes;
    const auto bytes = static_cast<uint32_t>(std::countr_one(run));
    if (bytes == 2 * AsciiWindow::kBytes || p[bytes] >= 0x80) {
        return nullptr;
    }
    const uint64_t breaks =
        (first.line_breaks() | uint64_t{second.line_breaks()} << AsciiWindow::kBytes) &
        ((uint64_t{1} << bytes) - 1);
    if (breaks != 0) {
        return p + std::bit_width(breaks);
    }
    return p + (bytes > 1 ? bytes - 1 : 1);
}

template <Pattern kPattern>
const uint8_t* undecided_piece(const uint8_t* p, const uint8_t* end) noexcept {
    const Start start = kStarts[p[0]];
    const Start next = kStarts[p[1]];
    if constexpr (kPattern != Pattern::o200k) {
        if (p[0] == '\'') {
            if (const size_t bytes = contraction_bytes(p, end); bytes != 0) {
                return p + bytes;
            }
        }
    }
    if (start == kAlpha) {
        return word<kPattern>(p, end);
    }
    if (start <= kBlank && next == kAlpha) {
        return word<kPattern>(p + 1, end);
    }
    if (start == kHigh || (next == kHigh && start != kDigit)) {
        return nullptr;
    }
    if (start == kDigit) {
        return number<kPattern>(p);
    }
    if (start == kOther || (p[0] == ' ' && next == kOther)) {
        return others<kPattern>(p + 1, end);
    }
    return spaces(p);
}

}  // namespace fast

// The end of the piece at p < end, if it is plain ASCII, short, and ends well before `end`, so that
// nothing that may follow changes it; else nullptr: then Scanner decides.
template <Pattern kPattern>
inline const uint8_t* fast_piece(const uint8_t* p, const uint8_t* end) noexcept {
    const uint8_t* after = fast::undecided_piece<kPattern>(p, end);
    return after != nullptr && after + kMaxContractionBytes < end ? after : nullptr;
}

}  // namespace llm::tokenizer
