#include "llm/json_scan.hpp"

#include <algorithm>

#include "llm/json_bytes.hpp"

namespace llm::json {
namespace {

constexpr bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

constexpr bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

}  // namespace

std::string_view describe(Fault fault) noexcept {
    switch (fault) {
        case Fault::none:
            return "";
        case Fault::ends_early:
            return "it ends too early";
        case Fault::no_value:
            return "expected a value";
        case Fault::no_key:
            return "expected a key in double quotes";
        case Fault::no_colon:
            return "expected ':'";
        case Fault::no_comma_in_object:
            return "expected ',' or '}'";
        case Fault::no_comma_in_array:
            return "expected ',' or ']'";
        case Fault::control_character:
            return "a control character in a string";
        case Fault::escape:
            return "an unknown escape in a string";
        case Fault::utf8:
            return "a string is not UTF-8";
        case Fault::number:
            return "a number is not complete";
        case Fault::too_deep:
            return "nested too deep";
        case Fault::trailing:
            return "something follows its end";
    }
    return "";
}

void Scan::allow(size_t bytes) noexcept {
    limit_ = at_ + std::min(std::max<size_t>(bytes, 1), body_.size() - at_);
}

Event Scan::next() noexcept {
    if (open_ != Open::none) {
        return open_ == Open::string ? read_string() : read_number();
    }
    while (skip_space()) {
        const char c = body_[at_];
        switch (expect_) {
            case Expect::first_key:
                if (c == '}') {
                    return close(c);
                }
                [[fallthrough]];
            case Expect::key:
                return c == '"' ? begin_string() : fail(Fault::no_key);
            case Expect::colon:
                if (c != ':') {
                    return fail(Fault::no_colon);
                }
                ++at_;
                expect_ = Expect::value;
                break;
            case Expect::first_value:
                if (c == ']') {
                    return close(c);
                }
                [[fallthrough]];
            case Expect::value:
                return read_value(c);
            case Expect::comma:
                if (c != ',') {
                    return close(c);
                }
                ++at_;
                expect_ = in_object() ? Expect::key : Expect::value;
                break;
            case Expect::nothing:
                return fail(Fault::trailing);
        }
    }
    return run_out();
}

// Whether there is something else in the slice.
bool Scan::skip_space() noexcept {
    while (at_ < limit_ && is_space(body_[at_])) {
        ++at_;
    }
    return at_ < limit_;
}

Event Scan::read_value(char first) noexcept {
    switch (first) {
        case '"':
            return begin_string();
        case '{':
            return open(Kind::object);
        case '[':
            return open(Kind::array);
        case 't':
            return read_literal("true", Kind::boolean);
        case 'f':
            return read_literal("false", Kind::boolean);
        case 'n':
            return read_literal("null", Kind::null);
        default:
            return first == '-' || is_digit(first) ? begin_number() : fail(Fault::no_value);
    }
}

Event Scan::read_literal(std::string_view word, Kind kind) noexcept {
    if (body_.compare(at_, word.size(), word) != 0) {
        return fail(Fault::no_value);
    }
    begin_ = at_;
    at_ += word.size();
    kind_ = kind;
    return end_value();
}

Event Scan::open(Kind kind) noexcept {
    if (depth_ == kMaxDepth) {
        return fail(Fault::too_deep);
    }
    is_object_[static_cast<size_t>(depth_++)] = kind == Kind::object;
    begin_ = at_++;
    kind_ = kind;
    expect_ = kind == Kind::object ? Expect::first_key : Expect::first_value;
    return Event::value;
}

Event Scan::close(char brace) noexcept {
    if (brace != (in_object() ? '}' : ']')) {
        return fail(in_object() ? Fault::no_comma_in_object : Fault::no_comma_in_array);
    }
    --depth_;
    begin_ = at_++;
    end_value();
    return Event::close;
}

Event Scan::begin_string() noexcept {
    begin_ = at_++;
    kind_ = Kind::string;
    has_escapes_ = false;
    open_ = Open::string;
    return read_string();
}

Event Scan::read_string() noexcept {
    while (at_ < limit_) {
        at_ = static_cast<size_t>(pass_plain(body_.data() + at_, body_.data() + limit_) -
                                  body_.data());
        if (at_ >= limit_) {
            break;
        }
        const char c = body_[at_];
        if (c == '"') {
            return end_string();
        }
        if (c == '\\') {
            if (!skip_escapes()) {
                return fail(Fault::escape);
            }
        } else if (byte(c) < 0x20) {
            return fail(Fault::control_character);
        } else if (!skip_characters()) {
            return fail(Fault::utf8);
        }
    }
    return run_out();
}

Event Scan::end_string() noexcept {
    ++at_;
    open_ = Open::none;
    if (expect_ == Expect::key || expect_ == Expect::first_key) {
        expect_ = Expect::colon;
        return Event::key;
    }
    return end_value();
}

// As many as stand here, the first at least.
bool Scan::skip_escapes() noexcept {
    has_escapes_ = true;
    do {
        const size_t left = body_.size() - at_;
        const char letter = left > 1 ? body_[at_ + 1] : '\0';
        if (kEscape[byte(letter)] != 0) {
            at_ += 2;
        } else if (letter == 'u' && left >= 6 && holds_hex4(body_.data() + at_ + 2)) {
            at_ += 6;
        } else {
            return false;
        }
    } while (at_ < limit_ && body_[at_] == '\\');
    return true;
}

// As many that are not ASCII as stand here, the first at least.
bool Scan::skip_characters() noexcept {
    const char* const end = body_.data() + body_.size();
    do {
        const ptrdiff_t size = sequence_size(body_.data() + at_, end);
        if (size == 0) {
            return false;
        }
        at_ += static_cast<size_t>(size);
    } while (at_ < limit_ && byte(body_[at_]) >= 0x80);
    return true;
}

bool Scan::holds_digit(size_t at) const noexcept {
    return at < body_.size() && is_digit(body_[at]);
}

Event Scan::begin_number() noexcept {
    begin_ = at_;
    kind_ = Kind::integer;
    open_ = Open::number;
    at_ += body_[at_] == '-' ? 1 : 0;
    if (!begin_part(Part::integer)) {
        return fail(Fault::number);
    }
    if (body_[at_ - 1] == '0' && holds_digit(at_)) {
        return fail(Fault::number);
    }
    return read_number();
}

bool Scan::begin_part(Part part) noexcept {
    part_ = part;
    if (!holds_digit(at_)) {
        return false;
    }
    ++at_;
    return true;
}

Event Scan::read_number() noexcept {
    while (at_ < limit_) {
        const char c = body_[at_];
        if (is_digit(c)) {
            ++at_;
        } else if (c == '.' && part_ == Part::integer) {
            ++at_;
            kind_ = Kind::decimal;
            if (!begin_part(Part::fraction)) {
                return fail(Fault::number);
            }
        } else if ((c == 'e' || c == 'E') && part_ != Part::exponent) {
            const size_t sign = at_ + 1;
            const bool is_signed =
                sign < body_.size() && (body_[sign] == '+' || body_[sign] == '-');
            at_ += is_signed ? 2 : 1;
            kind_ = Kind::decimal;
            if (!begin_part(Part::exponent)) {
                return fail(Fault::number);
            }
        } else {
            open_ = Open::none;
            return end_value();
        }
    }
    return run_out();
}

Event Scan::end_value() noexcept {
    expect_ = depth_ == 0 ? Expect::nothing : Expect::comma;
    return Event::value;
}

// The slice has been read, or more.
Event Scan::run_out() noexcept {
    if (at_ < body_.size()) {
        return Event::pause;
    }
    if (open_ == Open::number && depth_ == 0) {
        open_ = Open::none;
        return end_value();
    }
    return expect_ == Expect::nothing ? Event::end : fail(Fault::ends_early);
}

Event Scan::fail(Fault fault) noexcept {
    fault_ = at_ < body_.size() ? fault : Fault::ends_early;
    return Event::error;
}

}  // namespace llm::json
