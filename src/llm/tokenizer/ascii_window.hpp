#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace llm::tokenizer {

// Sets of ASCII bytes among 16 bytes, one bit each. A byte of 0x80 and above is in none but `high`.
class AsciiWindow {
  public:
    static constexpr uint32_t kBytes = 16;

#if defined(__SSE2__)
    explicit AsciiWindow(const uint8_t* p) noexcept
        : bytes_(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))) {}

    uint32_t upper() const noexcept {
        return bits(in_range(bytes_, 'A', 'Z'));
    }
    uint32_t lower() const noexcept {
        return bits(in_range(bytes_, 'a', 'z'));
    }
    uint32_t letters() const noexcept {
        return bits(in_range(_mm_or_si128(bytes_, _mm_set1_epi8(0x20)), 'a', 'z'));
    }
    uint32_t digits() const noexcept {
        return bits(in_range(bytes_, '0', '9'));
    }
    uint32_t spaces() const noexcept {
        return bits(_mm_or_si128(in_range(bytes_, '\t', '\r'), equal(' ')));
    }
    uint32_t line_breaks() const noexcept {
        return bits(_mm_or_si128(equal('\n'), equal('\r')));
    }
    uint32_t equals(char c) const noexcept {
        return bits(equal(c));
    }
    uint32_t high() const noexcept {
        return bits(bytes_);
    }
    uint32_t continuations() const noexcept {
        return bits(_mm_cmplt_epi8(bytes_, _mm_set1_epi8(static_cast<char>(0xC0))));
    }
    uint32_t with_bit(uint32_t bit) const noexcept {
        return bits(_mm_sll_epi16(bytes_, _mm_cvtsi32_si128(static_cast<int>(7 - bit))));
    }
    void store(uint8_t* out) const noexcept {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes_);
    }

  private:
    static uint32_t bits(__m128i bytes) noexcept {
        return static_cast<uint32_t>(_mm_movemask_epi8(bytes));
    }
    __m128i equal(char c) const noexcept {
        return _mm_cmpeq_epi8(bytes_, _mm_set1_epi8(c));
    }
    // Signed comparison: bytes of 0x80 and above are negative, so below every `first`.
    static __m128i in_range(__m128i bytes, char first, char last) noexcept {
        return _mm_and_si128(_mm_cmpgt_epi8(bytes, _mm_set1_epi8(static_cast<char>(first - 1))),
                             _mm_cmplt_epi8(bytes, _mm_set1_epi8(static_cast<char>(last + 1))));
    }

    __m128i bytes_;
#else
    explicit AsciiWindow(const uint8_t* p) noexcept : bytes_(p) {}

    uint32_t upper() const noexcept {
        return in_range('A', 'Z');
    }
    uint32_t lower() const noexcept {
        return in_range('a', 'z');
    }
    uint32_t letters() const noexcept {
        return upper() | lower();
    }
    uint32_t digits() const noexcept {
        return in_range('0', '9');
    }
    uint32_t spaces() const noexcept {
        return in_range('\t', '\r') | in_range(' ', ' ');
    }
    uint32_t line_breaks() const noexcept {
        return equals('\n') | equals('\r');
    }
    uint32_t equals(char c) const noexcept {
        return in_range(static_cast<uint8_t>(c), static_cast<uint8_t>(c));
    }
    uint32_t high() const noexcept {
        return in_range(0x80, 0xFF);
    }
    uint32_t continuations() const noexcept {
        return in_range(0x80, 0xBF);
    }
    uint32_t with_bit(uint32_t bit) const noexcept {
        uint32_t bits = 0;
        for (uint32_t i = 0; i < kBytes; ++i) {
            bits |= (bytes_[i] >> bit & 1u) << i;
        }
        return bits;
    }
    void store(uint8_t* out) const noexcept {
        std::memcpy(out, bytes_, kBytes);
    }

  private:
    uint32_t in_range(uint8_t first, uint8_t last) const noexcept {
        uint32_t bits = 0;
        for (uint32_t i = 0; i < kBytes; ++i) {
            bits |= static_cast<uint32_t>(bytes_[i] >= first && bytes_[i] <= last) << i;
        }
        return bits;
    }

    const uint8_t* bytes_;
#endif
};

}  // namespace llm::tokenizer
