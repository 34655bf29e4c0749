#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "llm/off_peak.hpp"
#include "llm/usage.hpp"
#include "llm/usd.hpp"

namespace llm {

// What a price can be of. Those of tokens come first, and of them those of the prompt.
enum class Rate : uint8_t {
    input,
    cache_read,
    explicit_cache_read,
    cache_write,
    cache_write_long,
    audio_input,
    audio_cache_read,
    image_input,
    image_cache_read,
    video_input,
    output,
    reasoning,
    audio_output,
    image_output,
    video_output,
    // Of other units, the same at every tier and length.
    citation_token,
    request,
    query,
    search_low,
    search_medium,
    search_high,
    file_search,
    container,
    input_character,
    input_image,
    output_image,
    input_pixel,
    input_audio_second,
    input_video_second,
    input_second,
    output_second,
    end
};

inline constexpr size_t kTokenRates = static_cast<size_t>(Rate::citation_token);
inline constexpr size_t kUnitRates = static_cast<size_t>(Rate::end) - kTokenRates;

constexpr bool is_token_rate(Rate rate) noexcept {
    return rate < Rate::citation_token;
}

// What each token costs, 0 to kMaxTokenRate.
class TokenRates {
  public:
    AttoUsd& operator[](Rate rate) noexcept { return rates_[static_cast<size_t>(rate)]; }
    AttoUsd operator[](Rate rate) const noexcept { return rates_[static_cast<size_t>(rate)]; }
    bool operator==(const TokenRates&) const = default;

  private:
    std::array<AttoUsd, kTokenRates> rates_{};
};

// What other units cost, 0 to kMaxUnitRate; nothing where the price list has no such unit.
class UnitRates {
  public:
    void set(Rate rate, AttoUsd price) noexcept { rates_[index(rate)] = price; }
    bool has(Rate rate) const noexcept { return rates_[index(rate)] != kNone; }
    AttoUsd operator[](Rate rate) const noexcept { return has(rate) ? rates_[index(rate)] : 0; }
    bool operator==(const UnitRates&) const = default;

  private:
    static constexpr AttoUsd kNone = -1;
    static constexpr size_t index(Rate rate) noexcept {
        return static_cast<size_t>(rate) - kTokenRates;
    }
    static constexpr std::array<AttoUsd, kUnitRates> nothing() {
        std::array<AttoUsd, kUnitRates> rates{};
        rates.fill(kNone);
        return rates;
    }

    std::array<AttoUsd, kUnitRates> rates_ = nothing();
};

// The rates of a service tier for prompts of at least so many tokens.
struct RateCard {
    ServiceTier tier = ServiceTier::standard;
    int64_t min_prompt_tokens = 0;
    TokenRates rates;
};

// What a provider bills in some hours of the week, whatever the tier and the length.
struct OffPeak {
    OffPeakHours hours;
    TokenRates rates;
};

// Factors on everything but tools, in thousandths.
struct Uplifts {
    static constexpr int64_t kOne = 1000;
    static constexpr int64_t kMax = 100 * kOne;

    int64_t us = kOne;
    int64_t eu = kOne;
    int64_t regional = kOne;
    int64_t fast = kOne;
};

// The parts of a cost. They add up to the total exactly.
struct Cost {
    NanoUsd input = 0;      // the prompt that was not read from the cache or written to it, and
                            // what else was given: characters, seconds, images
    NanoUsd cached = 0;     // cache reads and writes
    NanoUsd output = 0;     // what was made, without the reasoning
    NanoUsd reasoning = 0;  // tokens of it
    NanoUsd tools = 0;      // what is billed by the call: searches, sessions, the request itself
    NanoUsd total() const noexcept { return input + cached + output + reasoning + tools; }
    bool operator==(const Cost&) const = default;
};

// What a request may make a provider bill, as far as it is known before the answer. What is left as
// it is here bounds every request that uses no tool.
struct RequestTraits {
    // What it asks for; nothing: not known, and the provider may serve it at any but as a batch.
    // Whatever is asked for, it may also be served at the standard tier.
    std::optional<ServiceTier> tier;
    Locality locality = Locality::global;
    bool fast = false;
    bool audio = true;   // audio may come in or go out
    bool images = true;  // images or video may come in or go out
    // Counts that are not of tokens: the most of searches, images, characters, duration …
    Usage units;
};

// What an operator agreed with a provider, instead of the list price. A side that is set costs that
// at every tier and length, as a batch too, and for every modality; cached tokens cost what is set
// for them, else what input costs. If both sides are set, no factor for a place or for speed is
// added.
struct PriceOverride {
    std::optional<AttoUsd> input, output, cache_read, cache_write;  // per token
};

// The price list of one model. A default one is free.
class ModelPrice {
  public:
    ModelPrice() = default;
    // The same at every tier and length.
    static ModelPrice flat(AttoUsd input, AttoUsd output);

    // What was used at the price list of its terms. A tier without a list of its own is billed as
    // the standard one, a batch as half of it. If the prompt is longer than a threshold, the rates
    // above it are those of the whole request. Summed up without rounding; then the total is
    // rounded to the nearest nano-dollar (half up), once, and the parts so that they add up to it.
    // Counts that contradict each other are clamped (no part of a prompt is larger than the prompt,
    // nothing is negative, nothing above kMaxCount); a cost saturates at half of int64's range.
    Cost cost(const Usage& usage) const noexcept;

    // No request with these traits and at most these tokens costs more.
    NanoUsd upper_bound(int64_t prompt_tokens, int64_t completion_tokens,
                        const RequestTraits& traits = {}) const noexcept;

    void override_with(const PriceOverride& agreed);
    // A code interpreter's session costs what it does there.
    void take_container_price(const ModelPrice& container) noexcept;

    // Nothing that can be used costs anything.
    bool is_free() const noexcept;

    // The rates that a prompt of this length is billed at.
    const TokenRates& rates(ServiceTier tier, int64_t prompt_tokens) const noexcept;
    const UnitRates& units() const noexcept { return units_; }
    const std::vector<RateCard>& cards() const noexcept { return cards_; }

    int64_t max_output_tokens = 0;  // most the model can produce; 0: not known
    bool reasons = false;           // it can think before it answers, and bills that as output

  private:
    friend struct PriceEntry;
    struct Sums;

    const RateCard* find_card(ServiceTier tier, int64_t prompt_tokens) const noexcept;
    const TokenRates& rates_of(const Usage& usage) const noexcept;
    bool has_only_free_tokens() const noexcept;
    bool has_tier(ServiceTier tier) const noexcept;
    void list_half_price_batch();
    int64_t uplift(const BillingTerms& terms) const noexcept;
    AttoUsd search_rate(const BillingTerms& terms) const noexcept;
    void add_prompt(const Usage& usage, const TokenRates& rates, Sums& sums) const noexcept;
    void add_completion(const Usage& usage, const TokenRates& rates, Sums& sums) const noexcept;
    void add_units(const Usage& usage, Sums& sums) const noexcept;
    void add_tools(const Usage& usage, Sums& sums) const noexcept;

    // By tier, then by length; the standard tier's shortest comes first. Never empty.
    std::vector<RateCard> cards_ = std::vector<RateCard>(1);
    UnitRates units_;
    Uplifts uplifts_;
    std::shared_ptr<const OffPeak> off_peak_;  // nullptr: none
    SearchContext default_search_ = SearchContext::medium;
    int64_t least_searches_ = 0;        // of a model that searches unasked
    bool searches_per_prompt_ = false;  // many searches for one prompt are billed as one
    bool has_token_price_ = false;
};

}  // namespace llm
