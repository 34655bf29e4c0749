#include <algorithm>
#include <charconv>
#include <iterator>

#include "llm/price_entry.hpp"

namespace llm {

namespace {

struct RateName {
    std::string_view name;
    Rate rate;
};

constexpr RateName kRateNames[] = {
    {"input_cost_per_token", Rate::input},
    {"cache_read_input_token_cost", Rate::cache_read},
    {"cache_creation_input_token_cost", Rate::cache_write},
    {"cache_creation_input_token_cost_above_1hr", Rate::cache_write_long},
    {"cache_creation_input_token_cost_above_12hr", Rate::cache_write_long},
    {"explicit_cache_read_input_token_cost", Rate::explicit_cache_read},
    {"input_cost_per_audio_token", Rate::audio_input},
    {"cache_read_input_audio_token_cost", Rate::audio_cache_read},
    {"input_cost_per_image_token", Rate::image_input},
    {"cache_read_input_image_token_cost", Rate::image_cache_read},
    {"input_cost_per_video_token", Rate::video_input},
    {"output_cost_per_token", Rate::output},
    {"output_cost_per_reasoning_token", Rate::reasoning},
    {"output_cost_per_audio_token", Rate::audio_output},
    {"output_cost_per_image_token", Rate::image_output},
    {"output_cost_per_video_token", Rate::video_output},
    {"citation_cost_per_token", Rate::citation_token},
    {"input_cost_per_request", Rate::request},
    {"input_cost_per_query", Rate::query},
    {"input_cost_per_character", Rate::input_character},
    {"input_cost_per_image", Rate::input_image},
    {"output_cost_per_image", Rate::output_image},
    {"input_cost_per_pixel", Rate::input_pixel},
    {"input_cost_per_audio_per_second", Rate::input_audio_second},
    {"input_cost_per_video_per_second", Rate::input_video_second},
    {"input_cost_per_second", Rate::input_second},
    {"cost_per_second", Rate::input_second},
    {"output_cost_per_second", Rate::output_second},
    {"code_interpreter_cost_per_session", Rate::container},
    {"file_search_cost_per_1k_calls", Rate::file_search},
};

struct TierSuffix {
    std::string_view suffix;
    ServiceTier tier;
};

constexpr TierSuffix kTierSuffixes[] = {
    {"_batches", ServiceTier::batch},       {"_priority", ServiceTier::priority},
    {"_flex", ServiceTier::flex},           {"_balanced", ServiceTier::balanced},
    {"_ultrafast", ServiceTier::ultrafast},
};

bool take_suffix(std::string_view& text, std::string_view suffix) noexcept {
    if (!text.ends_with(suffix)) {
        return false;
    }
    text.remove_suffix(suffix.size());
    return true;
}

ServiceTier take_tier(std::string_view& name) noexcept {
    for (const TierSuffix& known : kTierSuffixes) {
        if (take_suffix(name, known.suffix)) {
            return known.tier;
        }
    }
    return ServiceTier::standard;
}

// "…_above_272k_tokens" or "…_above_512_tokens".
int64_t take_threshold(std::string_view& name) noexcept {
    constexpr std::string_view kAbove = "_above_";
    std::string_view rest = name;
    if (!take_suffix(rest, "_tokens")) {
        return 0;
    }
    const bool thousands = take_suffix(rest, "k");
    const size_t at = rest.rfind(kAbove);
    if (at == std::string_view::npos) {
        return 0;
    }
    const char* end = rest.data() + rest.size();
    int32_t tokens = 0;
    const auto [stop, error] = std::from_chars(rest.data() + at + kAbove.size(), end, tokens);
    if (error != std::errc() || stop != end || tokens <= 0) {
        return 0;
    }
    name = rest.substr(0, at);
    return thousands ? int64_t{tokens} * 1000 : tokens;
}

}  // namespace

std::optional<PriceField> price_field(std::string_view name) noexcept {
    if (name.find("cost") == std::string_view::npos) {
        return std::nullopt;
    }
    PriceField field;
    field.tier = take_tier(name);
    field.above = take_threshold(name);
    const auto* known = std::find_if(std::begin(kRateNames), std::end(kRateNames),
                                     [name](const RateName& rate) { return rate.name == name; });
    if (known == std::end(kRateNames)) {
        return std::nullopt;
    }
    field.rate = known->rate;
    field.per_thousand = field.rate == Rate::file_search;
    const bool plain = field.tier == ServiceTier::standard && field.above == 0;
    return plain || is_token_rate(field.rate) ? std::optional(field) : std::nullopt;
}

}  // namespace llm
