#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llm {

using NanoUsd = int64_t;  // 1e-9 USD: what is charged
using AttoUsd = int64_t;  // 1e-18 USD: what one unit costs (a token, an image, a second …)

inline constexpr AttoUsd kOneUsd = 1'000'000'000'000'000'000;
// The dearest that a price can be, of a token and of another unit.
inline constexpr AttoUsd kMaxTokenRate = kOneUsd;
inline constexpr AttoUsd kMaxUnitRate = 9 * kOneUsd;

// "0.15" USD per one million tokens → atto-USD per token. Nothing for a malformed, negative or too
// large (> 1e6) number, or one finer than an atto-USD per token.
std::optional<AttoUsd> parse_usd_per_million(std::string_view text) noexcept;

// "1000", "0.5", "12.34" USD → nano-USD. Nothing for a malformed or negative amount, one above 9e9
// USD, or one finer than a nano-USD.
std::optional<NanoUsd> parse_usd(std::string_view text) noexcept;

// Decimal USD without trailing zeros: "0.000123", "12", "-0.5".
std::string format_usd(NanoUsd amount);
// The same of a price: "0.00000015".
std::string format_rate(AttoUsd rate);

}  // namespace llm
