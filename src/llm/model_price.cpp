#include "llm/model_price.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace llm {

namespace {

__extension__ using Wide = __int128;

constexpr int64_t kAttoPerNano = 1'000'000'000;
constexpr int64_t kMicro = 1'000'000;

// A cost has five parts, each below this and so is their sum.
constexpr NanoUsd kMaxCost = std::numeric_limits<NanoUsd>::max() / 2;

constexpr Rate kPromptRates[] = {Rate::input, Rate::cache_read, Rate::explicit_cache_read,
                                 Rate::cache_write, Rate::cache_write_long};
constexpr Rate kPromptAudio[] = {Rate::audio_input, Rate::audio_cache_read};
constexpr Rate kPromptImages[] = {Rate::image_input, Rate::image_cache_read, Rate::video_input};
constexpr Rate kCompletionRates[] = {Rate::output, Rate::reasoning};
constexpr Rate kCompletionAudio[] = {Rate::audio_output};
constexpr Rate kCompletionImages[] = {Rate::image_output, Rate::video_output};

int64_t count(int64_t n, int64_t most = kMaxCount) noexcept {
    return std::clamp<int64_t>(n, 0, most);
}

Wide product(int64_t n, AttoUsd rate) noexcept {
    return static_cast<Wide>(n) * rate;
}

Wide product_of_micros(int64_t micros, AttoUsd rate) noexcept {
    return (product(count(micros), rate) + kMicro - 1) / kMicro;
}

template <size_t N>
AttoUsd dearest(const TokenRates& rates, const Rate (&which)[N]) noexcept {
    AttoUsd most = 0;
    for (const Rate rate : which) {
        most = std::max(most, rates[rate]);
    }
    return most;
}

AttoUsd dearest_prompt(const TokenRates& rates, const RequestTraits& traits) noexcept {
    const AttoUsd text = dearest(rates, kPromptRates);
    const AttoUsd audio = traits.audio ? dearest(rates, kPromptAudio) : 0;
    const AttoUsd images = traits.images ? dearest(rates, kPromptImages) : 0;
    return std::max({text, audio, images});
}

AttoUsd dearest_completion(const TokenRates& rates, const RequestTraits& traits) noexcept {
    const AttoUsd text = dearest(rates, kCompletionRates);
    const AttoUsd audio = traits.audio ? dearest(rates, kCompletionAudio) : 0;
    const AttoUsd images = traits.images ? dearest(rates, kCompletionImages) : 0;
    return std::max({text, audio, images});
}

bool may_serve(ServiceTier tier, const RequestTraits& traits) noexcept {
    if (!traits.tier) {
        return tier != ServiceTier::batch;
    }
    return tier == ServiceTier::standard || tier == *traits.tier;
}

void set_between(TokenRates& rates, Rate first, Rate end, AttoUsd value) noexcept {
    for (auto i = static_cast<size_t>(first); i < static_cast<size_t>(end); ++i) {
        rates[static_cast<Rate>(i)] = value;
    }
}

void replace(TokenRates& rates, const PriceOverride& agreed) noexcept {
    if (agreed.input) {
        set_between(rates, Rate::input, Rate::output, *agreed.input);
    }
    if (agreed.output) {
        set_between(rates, Rate::output, Rate::citation_token, *agreed.output);
    }
    for (const Rate read : {Rate::cache_read, Rate::explicit_cache_read, Rate::audio_cache_read,
                            Rate::image_cache_read}) {
        rates[read] = agreed.cache_read.value_or(rates[read]);
    }
    for (const Rate write : {Rate::cache_write, Rate::cache_write_long}) {
        rates[write] = agreed.cache_write.value_or(rates[write]);
    }
}

// What is left of a whole as parts of it are taken off.
class Remainder {
  public:
    explicit Remainder(int64_t whole) noexcept : left_(count(whole)) {}

    int64_t take(int64_t part) noexcept {
        part = count(part, left_);
        left_ -= part;
        return part;
    }
    int64_t left() const noexcept { return left_; }

  private:
    int64_t left_;
};

// Sums to be rounded are cut to what a cost can be, so that a factor on them cannot overflow.
constexpr Wide kMaxAtto = static_cast<Wide>(kMaxCost) * kAttoPerNano;

// Factors are in these.
constexpr int64_t kWhole = 2 * Uplifts::kOne * Uplifts::kOne;

Wide scaled(Wide atto, int64_t factor) noexcept {
    return std::min(atto, kMaxAtto) * factor;
}

// To the nearest, half up.
NanoUsd to_nano(Wide scaled_atto) noexcept {
    constexpr Wide kNano = static_cast<Wide>(kAttoPerNano) * kWhole;
    return static_cast<NanoUsd>(std::min<Wide>((scaled_atto + kNano / 2) / kNano, kMaxCost));
}

// Rounds a sum once, while it grows: each part is what it raises the rounded sum by.
class Rounding {
  public:
    NanoUsd grow_to(Wide scaled_atto) noexcept {
        const NanoUsd before = std::exchange(rounded_, to_nano(scaled_atto));
        return rounded_ - before;
    }

  private:
    NanoUsd rounded_ = 0;
};

}  // namespace

// A cost in progress, in atto-USD.
struct ModelPrice::Sums {
    Wide input = 0;
    Wide cached = 0;
    Wide output = 0;
    Wide reasoning = 0;
    Wide tools = 0;
};

ModelPrice ModelPrice::flat(AttoUsd input, AttoUsd output) {
    ModelPrice price;
    price.override_with({.input = input, .output = output, .cache_read = {}, .cache_write = {}});
    return price;
}

void ModelPrice::list_half_price_batch() {
    std::vector<RateCard> batch = cards_;
    std::erase_if(batch, [](const RateCard& card) { return card.tier != ServiceTier::standard; });
    for (RateCard& card : batch) {
        card.tier = ServiceTier::batch;
        for (size_t i = 0; i < kTokenRates; ++i) {
            card.rates[static_cast<Rate>(i)] /= 2;
        }
    }
    cards_.insert(cards_.end(), batch.begin(), batch.end());
}

void ModelPrice::override_with(const PriceOverride& agreed) {
    if (!has_tier(ServiceTier::batch)) {
        list_half_price_batch();
    }
    for (RateCard& card : cards_) {
        replace(card.rates, agreed);
    }
    if (agreed.input && agreed.output) {
        uplifts_ = {};
    }
    off_peak_.reset();
    has_token_price_ = !has_only_free_tokens();
}

void ModelPrice::take_container_price(const ModelPrice& container) noexcept {
    if (container.units_.has(Rate::container)) {
        units_.set(Rate::container, container.units_[Rate::container]);
    }
}

bool ModelPrice::has_only_free_tokens() const noexcept {
    return std::all_of(cards_.begin(), cards_.end(),
                       [](const RateCard& card) { return card.rates == TokenRates(); });
}

bool ModelPrice::is_free() const noexcept {
    for (size_t i = kTokenRates; i < kTokenRates + kUnitRates; ++i) {
        if (units_[static_cast<Rate>(i)] != 0) {
            return false;
        }
    }
    return has_only_free_tokens() && (!off_peak_ || off_peak_->rates == TokenRates());
}

const RateCard* ModelPrice::find_card(ServiceTier tier, int64_t prompt_tokens) const noexcept {
    const RateCard* found = nullptr;
    for (const RateCard& card : cards_) {
        if (card.tier == tier && card.min_prompt_tokens <= prompt_tokens) {
            found = &card;
        }
    }
    return found;
}

const TokenRates& ModelPrice::rates(ServiceTier tier, int64_t prompt_tokens) const noexcept {
    const RateCard* card = find_card(tier, prompt_tokens);
    if (card == nullptr) {
        card = find_card(ServiceTier::standard, prompt_tokens);
    }
    return card != nullptr ? card->rates : cards_.front().rates;
}

const TokenRates& ModelPrice::rates_of(const Usage& usage) const noexcept {
    const int64_t at = usage.terms.at_s;
    if (off_peak_ && at != 0 && off_peak_->hours.contains(at)) {
        return off_peak_->rates;
    }
    return rates(usage.terms.tier, count(usage.prompt_tokens));
}

int64_t ModelPrice::uplift(const BillingTerms& terms) const noexcept {
    const int64_t speed = terms.fast ? uplifts_.fast : Uplifts::kOne;
    switch (terms.locality) {
        case Locality::global:
            break;
        case Locality::us:
            return uplifts_.us * speed;
        case Locality::eu:
            return uplifts_.eu * speed;
        case Locality::regional:
            return uplifts_.regional * speed;
    }
    return Uplifts::kOne * speed;
}

bool ModelPrice::has_tier(ServiceTier tier) const noexcept {
    return std::any_of(cards_.begin(), cards_.end(),
                       [tier](const RateCard& card) { return card.tier == tier; });
}

AttoUsd ModelPrice::search_rate(const BillingTerms& terms) const noexcept {
    switch (terms.search_context.value_or(default_search_)) {
        case SearchContext::low:
            return units_[Rate::search_low];
        case SearchContext::high:
            return units_[Rate::search_high];
        case SearchContext::medium:
            break;
    }
    return units_[Rate::search_medium];
}

void ModelPrice::add_prompt(const Usage& usage, const TokenRates& rates,
                            Sums& sums) const noexcept {
    Remainder prompt(usage.prompt_tokens);
    Remainder read(prompt.take(usage.cached_tokens));
    Remainder written(prompt.take(usage.cache_write_tokens));
    const int64_t audio_read = read.take(usage.cached_audio_tokens);
    const int64_t image_read = read.take(usage.cached_image_tokens);
    const int64_t written_long = written.take(usage.cache_write_long_tokens);
    const Rate text_read =
        usage.terms.explicit_cache ? Rate::explicit_cache_read : Rate::cache_read;
    sums.cached = product(read.left(), rates[text_read]) +
                  product(audio_read, rates[Rate::audio_cache_read]) +
                  product(image_read, rates[Rate::image_cache_read]) +
                  product(written.left(), rates[Rate::cache_write]) +
                  product(written_long, rates[Rate::cache_write_long]);

    // A modality that was given by the second, the image or the character is billed so.
    const int64_t audio = prompt.take(usage.audio_prompt_tokens - audio_read);
    const int64_t images = prompt.take(usage.image_prompt_tokens - image_read);
    const int64_t video = prompt.take(usage.video_prompt_tokens);
    const auto unless = [this](int64_t amount, Rate unit, Wide tokens) {
        return amount > 0 && units_.has(unit) ? Wide(0) : tokens;
    };
    sums.input =
        unless(usage.characters, Rate::input_character,
               product(prompt.left(), rates[Rate::input])) +
        unless(usage.audio_us, Rate::input_audio_second, product(audio, rates[Rate::audio_input])) +
        unless(usage.input_images, Rate::input_image, product(images, rates[Rate::image_input])) +
        unless(usage.video_us, Rate::input_video_second, product(video, rates[Rate::video_input])) +
        product(count(usage.citation_tokens), units_[Rate::citation_token]);
}

void ModelPrice::add_completion(const Usage& usage, const TokenRates& rates,
                                Sums& sums) const noexcept {
    Remainder completion(usage.completion_tokens);
    const int64_t reasoning = completion.take(usage.reasoning_tokens);
    const int64_t audio = completion.take(usage.audio_completion_tokens);
    const int64_t images = completion.take(usage.image_completion_tokens);
    const int64_t video = completion.take(usage.video_completion_tokens);
    sums.reasoning = product(reasoning, rates[Rate::reasoning]);
    sums.output = product(completion.left(), rates[Rate::output]) +
                  product(audio, rates[Rate::audio_output]) +
                  product(images, rates[Rate::image_output]) +
                  product(video, rates[Rate::video_output]);
}

void ModelPrice::add_units(const Usage& usage, Sums& sums) const noexcept {
    sums.input += product(count(usage.queries), units_[Rate::query]);
    sums.input += product(count(usage.characters), units_[Rate::input_character]);
    sums.input += product(count(usage.input_images), units_[Rate::input_image]);
    sums.input += product_of_micros(usage.audio_us, units_[Rate::input_audio_second]);
    sums.input += product_of_micros(usage.video_us, units_[Rate::input_video_second]);

    // Price lists give some models a price of the image or the second beside that of its tokens:
    // the same thing in other units.
    const bool by_token =
        has_token_price_ && (usage.prompt_tokens > 0 || usage.completion_tokens > 0);
    if (by_token) {
        return;
    }
    if (units_.has(Rate::output_image)) {
        sums.output += product(count(usage.images), units_[Rate::output_image]);
    } else if (units_.has(Rate::input_image)) {
        sums.output += product(count(usage.images), units_[Rate::input_image]);
    } else {
        sums.output += product(count(usage.image_pixels), units_[Rate::input_pixel]);
    }
    const Wide made = product_of_micros(usage.duration_us, units_[Rate::output_second]);
    if (made > 0) {
        sums.output += made;
    } else {
        sums.input += product_of_micros(usage.duration_us, units_[Rate::input_second]);
    }
}

void ModelPrice::add_tools(const Usage& usage, Sums& sums) const noexcept {
    const int64_t searches = count(usage.searches, searches_per_prompt_ ? 1 : kMaxCount);
    sums.tools = units_[Rate::request] + product(searches, search_rate(usage.terms)) +
                 product(count(usage.file_searches), units_[Rate::file_search]) +
                 product(count(usage.containers), units_[Rate::container]);
}

Cost ModelPrice::cost(const Usage& usage) const noexcept {
    Sums sums;
    const TokenRates& rates = rates_of(usage);
    add_prompt(usage, rates, sums);
    add_completion(usage, rates, sums);
    add_units(usage, sums);
    add_tools(usage, sums);

    const int64_t whole = 2 * uplift(usage.terms);
    const bool is_batch = usage.terms.tier == ServiceTier::batch;
    const int64_t factor = is_batch && !has_tier(ServiceTier::batch) ? whole / 2 : whole;
    Rounding rounding;
    Wide sum = 0;
    const auto part = [&](Wide atto) {
        sum += atto;
        return rounding.grow_to(scaled(sum, factor));
    };
    Cost cost;
    cost.input = part(sums.input);
    cost.cached = part(sums.cached);
    cost.output = part(sums.output);
    cost.reasoning = part(sums.reasoning);
    cost.tools = rounding.grow_to(scaled(sum, factor) + scaled(sums.tools, kWhole));
    return cost;
}

NanoUsd ModelPrice::upper_bound(int64_t prompt_tokens, int64_t completion_tokens,
                                const RequestTraits& traits) const noexcept {
    const int64_t prompt = count(prompt_tokens);
    const int64_t completion = count(completion_tokens);
    const auto dearest_call = [&](const TokenRates& rates) {
        return product(prompt, dearest_prompt(rates, traits)) +
               product(completion, dearest_completion(rates, traits));
    };
    Wide most = off_peak_ ? dearest_call(off_peak_->rates) : 0;
    for (const RateCard& card : cards_) {
        if (card.min_prompt_tokens <= prompt && may_serve(card.tier, traits)) {
            most = std::max(most, dearest_call(card.rates));
        }
    }
    // Without tokens, what has a price by token too is billed by its unit.
    Usage units = traits.units;
    units.prompt_tokens = units.completion_tokens = 0;
    units.searches = std::max(units.searches, least_searches_);
    Sums sums;
    add_prompt(units, rates_of(units), sums);  // citations
    add_units(units, sums);
    add_tools(units, sums);

    BillingTerms terms;
    terms.locality = traits.locality;
    terms.fast = traits.fast;
    return to_nano(scaled(most + sums.input + sums.output, 2 * uplift(terms)) +
                   scaled(sums.tools, kWhole));
}

}  // namespace llm
