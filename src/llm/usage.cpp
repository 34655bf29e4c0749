#include "llm/usage.hpp"

#include <algorithm>
#include <iterator>

namespace llm {

namespace {

struct TierName {
    std::string_view name;
    ServiceTier tier;
};

// OpenAI's and Anthropic's service_tier, Gemini's serviceTier and Vertex AI's trafficType. OpenAI's
// "scale" and Google's provisioned throughput are paid for ahead; their list price is the standard
// one. "fast" is another name for OpenAI's priority. Ours is the first of each tier.
constexpr TierName kTierNames[] = {
    {"standard", ServiceTier::standard},
    {"default", ServiceTier::standard},
    {"standard_only", ServiceTier::standard},
    {"scale", ServiceTier::standard},
    {"on_demand", ServiceTier::standard},
    {"provisioned_throughput", ServiceTier::standard},
    {"flex", ServiceTier::flex},
    {"on_demand_flex", ServiceTier::flex},
    {"balanced", ServiceTier::balanced},
    {"priority", ServiceTier::priority},
    {"fast", ServiceTier::priority},
    {"on_demand_priority", ServiceTier::priority},
    {"ultrafast", ServiceTier::ultrafast},
    {"batch", ServiceTier::batch},
};

constexpr char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_same_name(std::string_view name, std::string_view lower_case) noexcept {
    return std::equal(name.begin(), name.end(), lower_case.begin(), lower_case.end(),
                      [](char a, char b) { return lower(a) == b; });
}

}  // namespace

std::string_view name_of(ServiceTier tier) noexcept {
    return std::find_if(std::begin(kTierNames), std::end(kTierNames),
                        [tier](const TierName& known) { return known.tier == tier; })
        ->name;
}

std::optional<ServiceTier> parse_service_tier(std::string_view name) noexcept {
    const auto* found =
        std::find_if(std::begin(kTierNames), std::end(kTierNames),
                     [&](const TierName& known) { return is_same_name(name, known.name); });
    return found == std::end(kTierNames) ? std::nullopt : std::optional(found->tier);
}

}  // namespace llm
