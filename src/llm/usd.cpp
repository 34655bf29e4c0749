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

std::string format_usd(NanoUsd amount) {
    constexpr uint64_t kNanoPerUsd = 1'000'000'000;
    const auto bits = static_cast<uint64_t>(amount);
    const uint64_t magnitude = amount < 0 ? 0 - bits : bits;

    std::string text = amount < 0 ? "-" : "";
    text += std::to_string(magnitude / kNanoPerUsd);
    // 1 in front keeps the fraction's leading zeros; the point takes its place.
    std::string fraction = std::to_string(kNanoPerUsd + magnitude % kNanoPerUsd);
    fraction.front() = '.';
    fraction.erase(fraction.find_last_not_of('0') + 1);
    return fraction == "." ? text : text + fraction;
}

}  // namespace llm
