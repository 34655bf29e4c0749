#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace llm {

// How fast a provider serves a request, and at which of its price lists.
enum class ServiceTier : uint8_t { standard, flex, balanced, priority, ultrafast, batch };

// Where a provider processes a request, if it asks more for that place.
enum class Locality : uint8_t { global, us, eu, regional };  // regional: any other one

// How much a web search puts into the prompt.
enum class SearchContext : uint8_t { low, medium, high };

// The conditions a response is billed on.
struct BillingTerms {
    ServiceTier tier = ServiceTier::standard;
    Locality locality = Locality::global;
    bool fast = false;            // Anthropic's fast mode
    bool explicit_cache = false;  // the client said what to cache (Alibaba Cloud bills that lower)
    std::optional<SearchContext> search_context;  // nothing: the provider's default
    int64_t at_s = 0;  // Unix time of the answer, for off-peak prices; 0: not known, not off-peak

    bool operator==(const BillingTerms&) const = default;
};

// "standard", "flex" …
std::string_view name_of(ServiceTier tier) noexcept;

// A provider's or client's name of a tier, in any case: "default", "priority", "FLEX",
// "ON_DEMAND_PRIORITY" … Nothing for a name that does not tell one, such as "auto".
std::optional<ServiceTier> parse_service_tier(std::string_view name) noexcept;

// No count of a response is larger, whatever it is of: what says so is malformed.
inline constexpr int64_t kMaxCount = 1'000'000'000'000;

// What one response used. Tokens in OpenAI's sense: `prompt_tokens` includes cached and cache-write
// tokens and those of every modality, `completion_tokens` includes reasoning tokens and those of
// every modality.
struct Usage {
    int64_t prompt_tokens = 0;
    int64_t completion_tokens = 0;
    int64_t cached_tokens = 0;       // prompt tokens read from the provider's cache
    int64_t cache_write_tokens = 0;  // prompt tokens written to it
    int64_t reasoning_tokens = 0;
    int64_t audio_prompt_tokens = 0;
    int64_t audio_completion_tokens = 0;

    int64_t cache_write_long_tokens = 0;  // those of cache_write_tokens that stay for hours
    int64_t cached_audio_tokens = 0;      // both in cached_tokens and in audio_prompt_tokens
    int64_t cached_image_tokens = 0;
    int64_t image_prompt_tokens = 0;
    int64_t video_prompt_tokens = 0;
    int64_t image_completion_tokens = 0;
    int64_t video_completion_tokens = 0;
    int64_t citation_tokens = 0;  // Perplexity: what was read on the way, beside the prompt

    // What is not counted in tokens.
    int64_t searches = 0;       // web searches, or queries of a grounded answer
    int64_t file_searches = 0;  // calls of a file search tool
    int64_t containers = 0;     // sessions of a code interpreter
    int64_t queries = 0;        // of a reranker or embedder that bills by query
    int64_t characters = 0;     // of the text to speak or to embed
    int64_t input_images = 0;   // that an embedder was given
    int64_t images = 0;         // made
    int64_t image_pixels = 0;   // of all images made
    int64_t audio_us = 0;       // microseconds of audio that an embedder was given
    int64_t video_us = 0;       // and of video
    int64_t duration_us = 0;    // microseconds of the audio transcribed, or that the answer took

    BillingTerms terms{};

    int64_t total_tokens() const noexcept { return prompt_tokens + completion_tokens; }
    bool operator==(const Usage&) const = default;
};

// Where a usage comes from.
enum class UsageSource : uint8_t {
    none,      // nothing was used: refused here, or by the provider
    reported,  // by the provider
    counted,   // by us, from the bytes that passed (estimated)
    held,      // unknown: the hold is the charge (estimated)
};

}  // namespace llm
