#include "llm/tokenizer/text_decoder.hpp"

#include <bit>
#include <cstring>

#include "llm/tokenizer/ascii_window.hpp"

namespace llm::tokenizer {
namespace {

constexpr uint32_t kReplacement = 0xFFFD;

uint8_t* put(uint32_t code_point, uint8_t* out) noexcept {
    if (code_point < 0x80) {
        *out++ = static_cast<uint8_t>(code_point);
    } else if (code_point < 0x800) {
        *out++ = static_cast<uint8_t>(0xC0 | code_point >> 6);
        *out++ = static_cast<uint8_t>(0x80 | (code_point & 0x3F));
    } else if (code_point < 0x10000) {
        *out++ = static_cast<uint8_t>(0xE0 | code_point >> 12);
        *out++ = static_cast<uint8_t>(0x80 | (code_point >> 6 & 0x3F));
        *out++ = static_cast<uint8_t>(0x80 | (code_point & 0x3F));
    } else {
        *out++ = static_cast<uint8_t>(0xF0 | code_point >> 18);
        *out++ = static_cast<uint8_t>(0x80 | (code_point >> 12 & 0x3F));
        *out++ = static_cast<uint8_t>(0x80 | (code_point >> 6 & 0x3F));
        *out++ = static_cast<uint8_t>(0x80 | (code_point & 0x3F));
    }
    return out;
}

int hex_value(uint8_t digit) noexcept {
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    const uint8_t letter = digit | 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

// The bytes of the well-formed sequence of two or more at p, 0 if there is none; 4 can be read.
size_t sequence_bytes(const uint8_t* p) noexcept {
    uint32_t word;  // little endian: the first byte is the lowest
    std::memcpy(&word, p, sizeof(word));
    if ((word & 0x00C0C0F0) == 0x008080E0) {
        const bool overlong = (word & 0x0000200F) == 0;
        const bool surrogate = (word & 0x0000200F) == 0x0000200D;
        return overlong || surrogate ? 0 : 3;
    }
    if ((word & 0x0000C0E0) == 0x000080C0) {
        return (word & 0x0000001E) == 0 ? 0 : 2;
    }
    if ((word & 0xC0C0C0F8) == 0x808080F0) {
        const uint32_t plane = (p[0] & 0x07u) << 2 | (p[1] >> 4 & 0x03u);
        return plane == 0 || plane > 16 ? 0 : 4;
    }
    return 0;
}

constexpr ptrdiff_t kPlainBlock = 64;

// Copies a block; whether all of it stands for itself.
bool copy_plain(const uint8_t* in, uint8_t* out, TextForm form) noexcept {
    uint32_t special = 0;
    for (ptrdiff_t i = 0; i < kPlainBlock; i += AsciiWindow::kBytes) {
        const AsciiWindow window(in + i);
        window.store(out + i);
        special |= window.high();
        if (form == TextForm::json) {
            special |= window.equals('\\');
        }
    }
    return special == 0;
}

}  // namespace

TextDecoder::Progress TextDecoder::decode(const uint8_t* in, const uint8_t* in_end, uint8_t* out,
                                          uint8_t* out_end, TextForm form) noexcept {
    while (in < in_end && static_cast<size_t>(out_end - out) >= kRoom) {
        if (pending() || in_end - in < static_cast<ptrdiff_t>(AsciiWindow::kBytes)) {
            out = step(*in++, out, form);
            continue;
        }
        while (in_end - in >= kPlainBlock && out_end - out >= kPlainBlock &&
               copy_plain(in, out, form)) {
            in += kPlainBlock;
            out += kPlainBlock;
        }
        if (in_end - in < static_cast<ptrdiff_t>(AsciiWindow::kBytes) ||
            static_cast<size_t>(out_end - out) < kRoom) {
            continue;
        }
        const AsciiWindow window(in);
        const uint32_t special = window.high() | (form == TextForm::json ? window.equals('\\') : 0);
        window.store(out);
        const auto plain =
            static_cast<uint32_t>(std::countr_zero(special | 1u << AsciiWindow::kBytes));
        in += plain;
        out += plain;
        if (plain == AsciiWindow::kBytes || in_end - in < 4) {
            continue;
        }
        const size_t bytes = sequence_bytes(in);
        if (bytes == 0) {
            if (static_cast<size_t>(out_end - out) >= kRoom) {
                out = step(*in++, out, form);
            }
            continue;
        }
        for (size_t next = bytes; next != 0 && out_end - out >= 4;
             next = in_end - in >= 4 ? sequence_bytes(in) : 0) {
            std::memcpy(out, in, 4);
            in += next;
            out += next;
        }
    }
    return {in, out};
}

uint8_t* TextDecoder::finish(uint8_t* out) noexcept {
    out = drop_surrogate(out);
    if (state_ != State::text) {
        out = put(kReplacement, out);
    }
    *this = TextDecoder();
    return out;
}

// Writes at most two characters.
uint8_t* TextDecoder::step(uint8_t byte, uint8_t* out, TextForm form) noexcept {
    switch (state_) {
        case State::sequence:
            if (byte < next_min_ || byte > next_max_) {
                state_ = State::text;
                return step(byte, put(kReplacement, out), form);
            }
            sequence_[sequence_size_++] = byte;
            next_min_ = 0x80;
            next_max_ = 0xBF;
            if (sequence_size_ < sequence_need_) {
                return out;
            }
            state_ = State::text;
            std::memcpy(out, sequence_, sizeof(sequence_));
            return out + sequence_size_;
        case State::escape:
            return end_escape(byte, out);
        case State::unicode:
            if (hex_value(byte) < 0) {
                state_ = State::text;
                return step(byte, put(kReplacement, drop_surrogate(out)), form);
            }
            hex_ = static_cast<uint16_t>(hex_ << 4 | hex_value(byte));
            return ++hex_digits_ < 4 ? out : end_unicode(out);
        case State::text:
            break;
    }
    if (byte == '\\' && form == TextForm::json) {
        state_ = State::escape;
        return out;
    }
    return begin_character(byte, drop_surrogate(out));
}

uint8_t* TextDecoder::begin_character(uint8_t byte, uint8_t* out) noexcept {
    if (byte < 0x80) {
        *out = byte;
        return out + 1;
    }
    if (byte < 0xC2 || byte > 0xF4) {
        return put(kReplacement, out);
    }
    state_ = State::sequence;
    sequence_[0] = byte;
    sequence_size_ = 1;
    sequence_need_ = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    next_min_ = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
    next_max_ = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
    return out;
}

uint8_t* TextDecoder::end_escape(uint8_t byte, uint8_t* out) noexcept {
    state_ = State::text;
    if (byte == 'u') {
        state_ = State::unicode;
        hex_ = 0;
        hex_digits_ = 0;
        return out;
    }
    out = drop_surrogate(out);
    switch (byte) {
        case 'b':
            return put('\b', out);
        case 'f':
            return put('\f', out);
        case 'n':
            return put('\n', out);
        case 'r':
            return put('\r', out);
        case 't':
            return put('\t', out);
        default:
            return begin_character(byte, out);
    }
}

uint8_t* TextDecoder::end_unicode(uint8_t* out) noexcept {
    state_ = State::text;
    const uint16_t unit = hex_;
    if (unit >= 0xDC00 && unit < 0xE000 && high_surrogate_ != 0) {
        const uint32_t high = high_surrogate_ - 0xD800u;
        high_surrogate_ = 0;
        return put(0x10000 + (high << 10) + (unit - 0xDC00u), out);
    }
    out = drop_surrogate(out);
    if (unit >= 0xD800 && unit < 0xDC00) {
        high_surrogate_ = unit;
        return out;
    }
    return put(unit >= 0xDC00 && unit < 0xE000 ? kReplacement : unit, out);
}

// A high surrogate that no low one follows.
uint8_t* TextDecoder::drop_surrogate(uint8_t* out) noexcept {
    if (high_surrogate_ == 0) {
        return out;
    }
    high_surrogate_ = 0;
    return put(kReplacement, out);
}

}  // namespace llm::tokenizer
