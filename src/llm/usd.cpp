#include "llm/usd.hpp"

#include "llm/decimal.hpp"

namespace llm {

std::optional<AttoUsd> parse_usd_per_million(std::string_view text) noexcept {
    constexpr int kScale = 18 - 6;  // atto-USD of one token, from USD of a million
    return parse_amount(text, kScale, kMaxTokenRate);
}

std::optional<NanoUsd> parse_usd(std::string_view text) noexcept {
    constexpr NanoUsd kMaxAmount = 9'000'000'000'000'000'000;
    return parse_amount(text, 9, kMaxAmount);
}

namespace {

// `amount` units, of which a USD has `units`, a power of ten.
std::string format_decimal(int64_t amount, uint64_t units) {
    const auto bits = static_cast<uint64_t>(amount);
    const uint64_t magnitude = amount < 0 ? 0 - bits : bits;

    std::string text = amount < 0 ? "-" : "";
    text += std::to_string(magnitude / units);
    // 1 in front keeps the fraction's leading zeros; the point takes its place.
    std::string fraction = std::to_string(units + magnitude % units);
    fraction.front() = '.';
    fraction.erase(fraction.find_last_not_of('0') + 1);
    return fraction == "." ? text : text + fraction;
}

}  // namespace

std::string format_usd(NanoUsd amount) {
    return format_decimal(amount, 1'000'000'000);
}

std::string format_rate(AttoUsd rate) {
    return format_decimal(rate, kOneUsd);
}

}  // namespace llm
