#include "llm/price_entry.hpp"

#include <algorithm>

namespace llm {

namespace {

constexpr AttoUsd kMicroUsd = 1'000'000'000'000;

// What is billed though price maps may leave it out, by the providers' own pages:
// https://openai.com/api/pricing (tool calls), https://ai.google.dev/gemini-api/docs/pricing
// (grounding), https://docs.x.ai/docs/models (tools).
constexpr AttoUsd kOpenAiFileSearch = 2'500 * kMicroUsd;
constexpr AttoUsd kGeminiSearch = 35'000 * kMicroUsd;
constexpr AttoUsd kXaiSearch = 5'000 * kMicroUsd;

constexpr AttoUsd half(AttoUsd rate) noexcept {
    return rate / 2 + rate % 2;
}

// The rates of one tier above one threshold.
class CardResolver {
  public:
    CardResolver(const PriceEntry& entry, const PriceListing& listing, ServiceTier tier,
                 int64_t above)
        : entry_(entry), listing_(listing), tier_(tier), above_(above) {}

    TokenRates resolve() const noexcept;

  private:
    std::optional<AttoUsd> listed(Rate rate) const noexcept;
    std::optional<AttoUsd> listed_for_batch(Rate rate) const noexcept;
    std::optional<AttoUsd> half_of_standard(Rate rate) const noexcept;
    std::optional<AttoUsd> listed_here(Rate rate) const noexcept;
    AttoUsd modality(Rate rate, Rate plain, const TokenRates& rates) const noexcept;
    AttoUsd reasoning(const TokenRates& rates) const noexcept;
    void resolve_plain(TokenRates& rates) const noexcept;
    void resolve_plain_of_batch(TokenRates& rates) const noexcept;
    bool is_batch() const noexcept { return tier_ == ServiceTier::batch; }

    const PriceEntry& entry_;
    const PriceListing& listing_;
    ServiceTier tier_;
    int64_t above_;
};

// A threshold goes before a tier: what a tier does not list above it costs what everybody pays
// there.
std::optional<AttoUsd> CardResolver::listed(Rate rate) const noexcept {
    const auto own = listing_.longest(rate, tier_, above_);
    const auto standard = listing_.longest(rate, ServiceTier::standard, above_);
    if (own && (!standard || own->above >= standard->above)) {
        return own->price;
    }
    return standard ? std::optional(standard->price) : std::nullopt;
}

std::optional<AttoUsd> CardResolver::half_of_standard(Rate rate) const noexcept {
    const auto standard = listing_.longest(rate, ServiceTier::standard, above_);
    return standard ? std::optional(half(standard->price)) : std::nullopt;
}

// Above a threshold that a batch price leaves out, a batch is half of the price there.
std::optional<AttoUsd> CardResolver::listed_for_batch(Rate rate) const noexcept {
    const auto own = listing_.longest(rate, ServiceTier::batch, above_);
    if (!own) {
        return std::nullopt;
    }
    const auto longer = listing_.longest(rate, ServiceTier::standard, above_, own->above);
    return longer ? half(longer->price) : own->price;
}

// Not the plain price of everybody: of this tier, or of this length.
std::optional<AttoUsd> CardResolver::listed_here(Rate rate) const noexcept {
    const bool standard = tier_ == ServiceTier::standard;
    const auto own = listing_.longest(rate, tier_, above_, standard ? 0 : -1);
    return own ? std::optional(own->price) : std::nullopt;
}

// A modality that costs what text costs does so at every tier and length; one with a price of its
// own keeps it where no other is listed, but for a batch, which is half of it.
AttoUsd CardResolver::modality(Rate rate, Rate plain, const TokenRates& rates) const noexcept {
    if (const auto here = listed_here(rate)) {
        return *here;
    }
    const auto base = listing_.exact(rate, ServiceTier::standard, 0);
    const bool as_text = !base || base == listing_.exact(plain, ServiceTier::standard, 0);
    if (as_text) {
        return rates[plain];
    }
    return is_batch() ? half(*base) : *base;
}

AttoUsd CardResolver::reasoning(const TokenRates& rates) const noexcept {
    const bool has_own_output =
        tier_ != ServiceTier::standard && listing_.longest(Rate::output, tier_, above_);
    const auto here = listed_here(Rate::reasoning);
    return has_own_output && !here ? rates[Rate::output]
                                   : modality(Rate::reasoning, Rate::output, rates);
}

void CardResolver::resolve_plain(TokenRates& rates) const noexcept {
    // https://docs.fireworks.ai/guides/prompt-caching: cached tokens cost half where nothing is
    // said.
    const bool half_cached = entry_.provider == "fireworks_ai";
    rates[Rate::input] = listed(Rate::input).value_or(0);
    rates[Rate::output] = listed(Rate::output).value_or(0);
    rates[Rate::cache_read] =
        listed(Rate::cache_read)
            .value_or(half_cached ? half(rates[Rate::input]) : rates[Rate::input]);
    rates[Rate::cache_write] = listed(Rate::cache_write).value_or(rates[Rate::input]);
    rates[Rate::cache_write_long] =
        listed(Rate::cache_write_long).value_or(rates[Rate::cache_write]);
}

// Half of the list price where no batch price is listed; but if input has one, and what is cached
// has none, there is no discount on it.
void CardResolver::resolve_plain_of_batch(TokenRates& rates) const noexcept {
    const auto or_half = [this](Rate rate) {
        const auto own = listed_for_batch(rate);
        return own ? own : half_of_standard(rate);
    };
    const bool has_input = listed_for_batch(Rate::input).has_value();
    rates[Rate::input] = or_half(Rate::input).value_or(0);
    rates[Rate::output] = or_half(Rate::output).value_or(0);
    for (const Rate cached : {Rate::cache_read, Rate::cache_write}) {
        const auto price = has_input ? listed_for_batch(cached) : or_half(cached);
        rates[cached] = price.value_or(rates[Rate::input]);
    }
    const bool has_write = listed_for_batch(Rate::cache_write).has_value() || !has_input;
    rates[Rate::cache_write_long] = (has_write ? or_half(Rate::cache_write_long) : std::nullopt)
                                        .value_or(rates[Rate::cache_write]);
}

TokenRates CardResolver::resolve() const noexcept {
    TokenRates rates;
    if (is_batch()) {
        resolve_plain_of_batch(rates);
    } else {
        resolve_plain(rates);
    }
    const auto image_output =
        is_batch() ? half_of_standard(Rate::image_output) : listed(Rate::image_output);
    if (rates[Rate::output] == 0 && image_output) {
        rates[Rate::output] = *image_output;  // a model that only makes images
    }
    rates[Rate::explicit_cache_read] = modality(Rate::explicit_cache_read, Rate::cache_read, rates);
    rates[Rate::audio_input] = modality(Rate::audio_input, Rate::input, rates);
    rates[Rate::audio_cache_read] = modality(Rate::audio_cache_read, Rate::cache_read, rates);
    rates[Rate::image_input] = modality(Rate::image_input, Rate::input, rates);
    rates[Rate::image_cache_read] = modality(Rate::image_cache_read, Rate::cache_read, rates);
    rates[Rate::video_input] = modality(Rate::video_input, Rate::input, rates);
    rates[Rate::reasoning] = reasoning(rates);
    rates[Rate::audio_output] = modality(Rate::audio_output, Rate::output, rates);
    rates[Rate::image_output] = modality(Rate::image_output, Rate::output, rates);
    rates[Rate::video_output] = modality(Rate::video_output, Rate::output, rates);
    return rates;
}

bool is_gemini(std::string_view provider, std::string_view model) noexcept {
    return (provider == "gemini" || provider.starts_with("vertex_ai")) &&
           model.find("claude") == std::string_view::npos;
}

}  // namespace

void PriceListing::set(const PriceField& field, AttoUsd price) {
    const auto same = std::find_if(items_.begin(), items_.end(), [&](const Item& item) {
        return item.field.rate == field.rate && item.field.tier == field.tier &&
               item.field.above == field.above;
    });
    if (same != items_.end()) {
        same->price = price;
    } else {
        items_.push_back({field, price});
    }
}

std::optional<AttoUsd> PriceListing::exact(Rate rate, ServiceTier tier,
                                           int64_t above) const noexcept {
    const auto found = longest(rate, tier, above, above - 1);
    return found ? std::optional(found->price) : std::nullopt;
}

std::optional<PriceListing::Found> PriceListing::longest(Rate rate, ServiceTier tier, int64_t above,
                                                         int64_t least) const noexcept {
    std::optional<Found> found;
    for (const Item& item : items_) {
        const PriceField& field = item.field;
        if (field.rate == rate && field.tier == tier && field.above <= above &&
            field.above > (found ? found->above : least)) {
            found = {item.price, field.above};
        }
    }
    return found;
}

bool PriceListing::has_tier(ServiceTier tier) const noexcept {
    return std::any_of(items_.begin(), items_.end(), [tier](const Item& item) {
        return item.field.tier == tier && is_token_rate(item.field.rate);
    });
}

std::vector<int64_t> PriceListing::thresholds(ServiceTier tier) const {
    std::vector<int64_t> all = {0};
    for (const Item& item : items_) {
        if (item.field.tier == tier || item.field.tier == ServiceTier::standard) {
            all.push_back(item.field.above);
        }
    }
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
}

ModelPrice PriceEntry::resolve(std::string_view model) const {
    ModelPrice price;
    price.max_output_tokens = max_output_tokens;
    price.reasons = reasons;
    price.uplifts_ = uplifts;
    price.cards_ = resolve_cards();
    price.off_peak_ = resolve_off_peak();
    price.has_token_price_ = !price.has_only_free_tokens();
    for (const auto& [field, listed] : listing.items()) {
        if (!is_token_rate(field.rate)) {
            price.units_.set(field.rate, listed);
        }
    }
    resolve_tools(model, price);
    return price;
}

std::vector<RateCard> PriceEntry::resolve_cards() const {
    constexpr ServiceTier kTiers[] = {ServiceTier::standard,  ServiceTier::flex,
                                      ServiceTier::balanced,  ServiceTier::priority,
                                      ServiceTier::ultrafast, ServiceTier::batch};
    // https://docs.x.ai/docs/models: a prompt that reaches the threshold is above it.
    const int64_t beyond = provider == "xai" ? 0 : 1;
    std::vector<RateCard> cards;
    for (const ServiceTier tier : kTiers) {
        if (tier != ServiceTier::standard && !listing.has_tier(tier)) {
            continue;
        }
        for (const int64_t above : listing.thresholds(tier)) {
            cards.push_back({tier, above == 0 ? 0 : above + beyond,
                             CardResolver(*this, listing, tier, above).resolve()});
        }
    }
    return cards;
}

std::shared_ptr<const OffPeak> PriceEntry::resolve_off_peak() const {
    if (off_peak.items().empty() || off_peak_hours.empty()) {
        return nullptr;
    }
    PriceListing then;
    for (const auto& [field, price] : listing.items()) {
        if (field.tier == ServiceTier::standard && field.above == 0) {
            then.set(field, price);
        }
    }
    for (const auto& [field, price] : off_peak.items()) {
        then.set(field, price);
    }
    const CardResolver card(*this, then, ServiceTier::standard, 0);
    return std::make_shared<const OffPeak>(OffPeak{off_peak_hours, card.resolve()});
}

void PriceEntry::resolve_tools(std::string_view model, ModelPrice& price) const {
    const auto search_costs = [&price](AttoUsd rate) {
        if (!price.units_.has(Rate::search_medium)) {
            for (const Rate size : {Rate::search_low, Rate::search_medium, Rate::search_high}) {
                price.units_.set(size, rate);
            }
        }
    };
    if (is_gemini(provider, model)) {
        price.searches_per_prompt_ = !bills_each_search;
        search_costs(kGeminiSearch);
    } else if (provider == "xai") {
        search_costs(kXaiSearch);
    } else if (provider == "perplexity") {
        price.default_search_ = SearchContext::low;
        price.least_searches_ = 1;
    } else if (provider == "openai" && !price.units_.has(Rate::file_search)) {
        price.units_.set(Rate::file_search, kOpenAiFileSearch);
    }
    if (model.find("-search") != std::string_view::npos) {
        price.least_searches_ = 1;
    }
}

}  // namespace llm
