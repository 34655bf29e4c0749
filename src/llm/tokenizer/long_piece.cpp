#include "llm/tokenizer/long_piece.hpp"

namespace llm::tokenizer {
namespace {

// A character and what decides about it: the next one, or a contraction.
constexpr ptrdiff_t kLookahead = 8;

}  // namespace

template <Pattern kPattern>
const uint8_t* LongPiece::begin(const uint8_t* p) noexcept {
    constexpr bool kCased = kPattern == Pattern::o200k;
    constexpr uint8_t kWord = kCased ? kUpper | kLower : kLetter;
    constexpr Kind kWordKind = kCased ? Kind::upper : Kind::letters;

    whole_.restart();
    uncut();
    const size_t bytes = utf8_length(*p);
    const uint8_t first = class_at(p);
    const uint8_t second = class_at(p + bytes);
    if (first & kWord) {
        // A mark before a word ends in lower case by itself, so it is the first place to cut.
        kind_ = kWordKind;
        return p;
    }
    const bool before_word = second & kWord && !(first & kLineBreak);
    const bool before_others = *p == ' ' && (second & (kSpace | kLetter | kNumber)) == 0;
    if (before_word || before_others) {
        kind_ = before_word ? kWordKind : Kind::others;
        take(p, bytes);
        return p + bytes;
    }
    kind_ = first & kSpace ? Kind::spaces : Kind::others;
    return p;
}

template <Pattern kPattern>
const uint8_t* LongPiece::feed(const uint8_t* p, const uint8_t* end, bool is_last) noexcept {
    while (is_last ? p < end : end - p >= kLookahead) {
        if (kind_ == Kind::contraction) {
            return take_contraction(p, end);
        }
        if (takes<kPattern>(p, end)) {
            const uint8_t char_class = class_at(p);
            take(p, utf8_length(*p));
            p += utf8_length(*p);
            if ((kind_ == Kind::spaces && char_class & kLineBreak) ||
                (kind_ == Kind::upper && char_class & kLower)) {
                cut();
            }
        } else if (kind_ != Kind::contraction) {
            kind_ = Kind::none;
            return p;
        }
    }
    if (is_last && p == end) {
        kind_ = Kind::none;
    }
    return p;
}

template <Pattern kPattern>
bool LongPiece::takes(const uint8_t* p, const uint8_t* end) noexcept {
    const uint8_t next = class_at(p);
    switch (kind_) {
        case Kind::letters:
            return next & kLetter;
        case Kind::upper:
            if (next & kUpper) {
                return true;
            }
            kind_ = next & kLower ? Kind::lower : Kind::contraction;
            if (kind_ == Kind::lower) {
                uncut();
            }
            return kind_ == Kind::lower;
        case Kind::lower:
            if (!(next & kLower)) {
                kind_ = Kind::contraction;
            }
            return next & kLower;
        case Kind::others:
            if (!(next & kLineBreak)) {
                return (next & (kSpace | kLetter | kNumber)) == 0;
            }
            kind_ = Kind::line_breaks;
            return true;
        case Kind::line_breaks:
            return next & kLineBreak || (kPattern == Pattern::o200k && *p == '/');
        case Kind::spaces:
            return next & kSpace && takes_space(p, end);
        case Kind::none:
        case Kind::contraction:
            break;
    }
    return false;
}

// The last one belongs to what follows, unless it is a line break or the text ends.
bool LongPiece::takes_space(const uint8_t* p, const uint8_t* end) const noexcept {
    const uint8_t* next = p + utf8_length(*p);
    return next == end || class_at(p) & kLineBreak || class_at(next) & kSpace;
}

void LongPiece::take(const uint8_t* p, size_t bytes) noexcept {
    whole_.feed(p, bytes);
    if (cut_ != 0) {
        rest_.feed(p, bytes);
    }
}

void LongPiece::cut() noexcept {
    cut_ = whole_.count();
    rest_.restart();
}

void LongPiece::uncut() noexcept {
    cut_ = 0;
    rest_.restart();
}

const uint8_t* LongPiece::take_contraction(const uint8_t* p, const uint8_t* end) noexcept {
    if (rest_.empty()) {
        uncut();
    }
    const size_t bytes = contraction_bytes(p, end);
    take(p, bytes);
    kind_ = Kind::none;
    return p + bytes;
}

template const uint8_t* LongPiece::begin<Pattern::cl100k>(const uint8_t*) noexcept;
template const uint8_t* LongPiece::begin<Pattern::o200k>(const uint8_t*) noexcept;
template const uint8_t* LongPiece::begin<Pattern::qwen2>(const uint8_t*) noexcept;
template const uint8_t* LongPiece::feed<Pattern::cl100k>(const uint8_t*, const uint8_t*,
                                                         bool) noexcept;
template const uint8_t* LongPiece::feed<Pattern::o200k>(const uint8_t*, const uint8_t*,
                                                        bool) noexcept;
template const uint8_t* LongPiece::feed<Pattern::qwen2>(const uint8_t*, const uint8_t*,
                                                        bool) noexcept;

}  // namespace llm::tokenizer
