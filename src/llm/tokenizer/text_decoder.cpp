#include "llm/tokenizer/text_decoder.hpp"

#include <algorithm>
#include <cstring>

#include "llm/tokenizer/kernels.hpp"

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

}  // namespace

TextDecoder::Progress TextDecoder::decode(const Kernels& kernels, const uint8_t* in,
                                          const uint8_t* in_end, uint8_t* out, uint8_t* out_end,
                                          TextForm form) noexcept {
    const auto has_room = [&] { return static_cast<size_t>(out_end - out) >= kRoom; };
    while (in < in_end && has_room()) {
        if (!pending()) {
            const auto most = static_cast<size_t>(std::min(in_end - in, out_end - out));
            const size_t plain = kernels.plain_bytes(in, most, form);
            std::memcpy(out, in, plain);
            in += plain;
            out += plain;
        }
        // What stopped it: an escape, a character that is broken or cut.
        do {
            if (in == in_end || !has_room()) {
                break;
            }
            out = step(*in++, out, form);
        } while (pending());
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
