#include "llm/decimal.hpp"

#include <algorithm>

namespace llm {

namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// Cuts the digits that `text` starts with off it.
std::string_view take_digits(std::string_view& text) {
    const auto end = std::find_if_not(text.begin(), text.end(), is_digit);
    const auto digits = text.substr(0, static_cast<size_t>(end - text.begin()));
    text.remove_prefix(digits.size());
    return digits;
}

bool take(std::string_view& text, char c) {
    if (!text.starts_with(c)) {
        return false;
    }
    text.remove_prefix(1);
    return true;
}

std::optional<int> parse_exponent(std::string_view text) {
    constexpr size_t kMaxDigits = 5;
    const bool negative = take(text, '-');
    if (!negative) {
        take(text, '+');
    }
    const auto digits = take_digits(text);
    if (digits.empty() || digits.size() > kMaxDigits || !text.empty()) {
        return std::nullopt;
    }
    int value = 0;
    for (const char c : digits) {
        value = value * 10 + (c - '0');
    }
    return negative ? -value : value;
}

}  // namespace

std::optional<Decimal> Decimal::parse(std::string_view text) noexcept {
    if (text.size() > kMaxText) {
        return std::nullopt;
    }
    Decimal number;
    number.negative_ = take(text, '-');
    const auto whole = take_digits(text);
    if (whole.empty()) {
        return std::nullopt;
    }
    number.point_ = static_cast<int>(whole.size());
    number.append(whole);

    if (take(text, '.')) {
        const auto fraction = take_digits(text);
        if (fraction.empty()) {
            return std::nullopt;
        }
        number.append(fraction);
    }
    number.has_exponent_ = take(text, 'e') || take(text, 'E');
    if (!number.has_exponent_) {
        return text.empty() ? std::optional(number) : std::nullopt;
    }
    const auto exponent = parse_exponent(text);
    if (!exponent) {
        return std::nullopt;
    }
    number.point_ += *exponent;
    return number;
}

// A zero in front is not stored: it only moves the point.
void Decimal::append(std::string_view digits) noexcept {
    for (const char c : digits) {
        if (size_ == 0 && c == '0') {
            --point_;
        } else {
            digits_[size_++] = c;
        }
    }
}

std::optional<int64_t> Decimal::scaled(int scale, int64_t limit, Fraction fraction) const noexcept {
    constexpr int kMaxWhole = 19;  // digits of the largest int64
    if (size_ == 0) {
        return 0;
    }
    const int whole = std::max(point_ + scale, 0);
    if (whole > kMaxWhole) {
        return std::nullopt;
    }
    uint64_t value = 0;  // holds any 19 digits and one more
    const auto kept = static_cast<size_t>(whole);
    for (size_t i = 0; i < kept; ++i) {
        value = value * 10 + static_cast<uint64_t>(i < size_ ? digits_[i] - '0' : 0);
    }
    const auto end = digits_.begin() + size_;
    const bool inexact =
        std::any_of(digits_.begin() + std::min(kept, size_), end, [](char c) { return c != '0'; });
    if (inexact && fraction == Fraction::refuse) {
        return std::nullopt;
    }
    value += inexact ? 1 : 0;
    if (limit < 0 || value > static_cast<uint64_t>(limit)) {
        return std::nullopt;
    }
    return static_cast<int64_t>(value);
}

std::optional<int64_t> parse_amount(std::string_view text, int scale, int64_t limit) noexcept {
    const auto number = Decimal::parse(text);
    if (!number || text.starts_with('-') || number->has_exponent()) {
        return std::nullopt;
    }
    return number->scaled(scale, limit, Decimal::Fraction::refuse);
}

}  // namespace llm
