#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace llm {

// A decimal number exactly as it is written: 0.<digits> × 10^point, without leading zeros.
class Decimal {
  public:
    // What scaled() does with a fraction that remains.
    enum class Fraction { round_up, refuse };

    // JSON's number syntax, leading zeros allowed. Nothing for other text or for more than kMaxText
    // bytes.
    static std::optional<Decimal> parse(std::string_view text) noexcept;

    bool is_negative() const noexcept { return negative_ && size_ > 0; }
    bool has_exponent() const noexcept { return has_exponent_; }

    // Its magnitude × 10^scale as an integer; nothing above `limit`, or for a refused fraction.
    std::optional<int64_t> scaled(int scale, int64_t limit, Fraction fraction) const noexcept;

  private:
    // Longer texts are no amounts; the bound also keeps point_ far from overflow.
    static constexpr size_t kMaxText = 100;

    void append(std::string_view digits) noexcept;

    std::array<char, kMaxText> digits_;
    size_t size_ = 0;  // of digits_; 0: the number is zero
    int point_ = 0;
    bool negative_ = false;
    bool has_exponent_ = false;
};

// "12.34" × 10^scale: a non-negative number without an exponent, exactly, at most `limit`.
std::optional<int64_t> parse_amount(std::string_view text, int scale, int64_t limit) noexcept;

}  // namespace llm
