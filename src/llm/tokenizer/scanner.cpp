#include "llm/tokenizer/scanner.hpp"

namespace llm::tokenizer {

Pattern pattern_of(std::string_view encoding) noexcept {
    if (encoding == "qwen2") {
        return Pattern::qwen2;
    }
    return encoding == "cl100k_base" ? Pattern::cl100k : Pattern::o200k;
}

size_t contraction_bytes(const uint8_t* p, const uint8_t* end) noexcept {
    if (end - p < 2 || p[0] != '\'') {
        return 0;
    }
    const uint8_t first = p[1] | 0x20;
    if (p[1] < 0x80 && (first == 's' || first == 'd' || first == 'm' || first == 't')) {
        return 2;
    }
    if (end - p < 3) {
        return 0;
    }
    if (p[1] == 0xC5 && p[2] == 0xBF) {  // U+017F, long s
        return 3;
    }
    const uint8_t second = p[2] | 0x20;
    const bool pair =
        p[1] < 0x80 && p[2] < 0x80 &&
        ((first == 'l' && second == 'l') || (second == 'e' && (first == 'v' || first == 'r')));
    return pair ? 3 : 0;
}

template <Pattern kPattern>
const uint8_t* Scanner<kPattern>::piece(const uint8_t* p, const uint8_t* end) noexcept {
    end_ = end;
    met_end_ = false;
    const uint8_t first = class_at(p);
    if constexpr (kPattern != Pattern::o200k) {
        if (const uint8_t* after = contraction(p); after != p) {
            return after;
        }
    }
    if (const uint8_t* after = word(p, first); after != p) {
        return after;
    }
    const uint8_t* second = p + utf8_length(*p);
    if (first & kNumber) {
        for (int digits = 1; digits < kMaxDigits<kPattern> && class_at(second) & kNumber;
             ++digits) {
            second += utf8_length(*second);
        }
        return second;
    }
    if (!(first & kSpace)) {
        return others(second);
    }
    if (*p == ' ' && is_other(second)) {
        return others(second);
    }
    return spaces(p);
}

// p if there is no word: one character before it may be anything but a letter, number or line
// break.
template <Pattern kPattern>
const uint8_t* Scanner<kPattern>::word(const uint8_t* p, uint8_t first_class) noexcept {
    if (first_class & (kNumber | kLineBreak)) {
        return p;
    }
    const uint8_t* second = p + utf8_length(*p);
    if constexpr (kPattern != Pattern::o200k) {
        const uint8_t* letters = first_class & kLetter ? p : second;
        const uint8_t* after = run(letters, kLetter);
        return after == letters ? p : after;
    } else {
        const uint8_t* letters = first_class & kLetter ? p : second;
        const auto [lower_ended, upper_begun] = cased_word(letters);
        if (lower_ended != letters) {
            return contraction(lower_ended);
        }
        if (first_class & kMark) {
            return contraction(second);  // a word by itself, which ends in lower case: preferred
        }
        return upper_begun == letters ? p : contraction(upper_begun);
    }
}

template <Pattern kPattern>
auto Scanner<kPattern>::cased_word(const uint8_t* p) noexcept -> CasedWord {
    const uint8_t* upper = p;
    const uint8_t* either = p;  // after the last of the upper run that may as well be lower
    for (; upper != end_;) {
        const auto [next, bytes] = vocabulary_.character(upper);
        if (!(next & kUpper)) {
            break;
        }
        upper += bytes;
        either = next & kLower ? upper : either;
    }
    const uint8_t* lower = run(upper, kLower);
    return {lower == upper ? either : lower, upper};
}

// The end of a contraction at p, or p.
template <Pattern kPattern>
const uint8_t* Scanner<kPattern>::contraction(const uint8_t* p) noexcept {
    const size_t bytes = contraction_bytes(p, end_);
    if (bytes == 0 && static_cast<size_t>(end_ - p) < kMaxContractionBytes &&
        (p == end_ || *p == '\'')) {
        met_end_ = true;
    }
    return p + bytes;
}

template <Pattern kPattern>
const uint8_t* Scanner<kPattern>::others(const uint8_t* p) noexcept {
    while (is_other(p)) {
        p += utf8_length(*p);
    }
    if constexpr (kPattern != Pattern::o200k) {
        return run(p, kLineBreak);
    }
    while (class_at(p) & kLineBreak || (p != end_ && *p == '/')) {
        ++p;
    }
    return p;
}

// To after the last line break of the run, if it has one; else all of it at the end of the text;
// else all but its last character, which belongs to what follows; but at least one.
template <Pattern kPattern>
const uint8_t* Scanner<kPattern>::spaces(const uint8_t* p) noexcept {
    const uint8_t* at = p;
    const uint8_t* last = p;
    const uint8_t* after_break = nullptr;
    for (uint8_t next = class_at(at); next & kSpace; next = class_at(at)) {
        last = at;
        at += utf8_length(*at);
        after_break = next & kLineBreak ? at : after_break;
    }
    if (after_break != nullptr) {
        return after_break;
    }
    return at == end_ || last == p ? at : last;
}

template <Pattern kPattern>
const uint8_t* Scanner<kPattern>::run(const uint8_t* p, uint8_t classes) noexcept {
    while (p != end_) {
        const auto [next, bytes] = vocabulary_.character(p);
        if (!(next & classes)) {
            return p;
        }
        p += bytes;
    }
    met_end_ = true;
    return p;
}

template class Scanner<Pattern::cl100k>;
template class Scanner<Pattern::o200k>;
template class Scanner<Pattern::qwen2>;

}  // namespace llm::tokenizer
