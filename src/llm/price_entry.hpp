#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "llm/model_price.hpp"

namespace llm {

// What a field of a price map is the price of: "input_cost_per_token_above_272k_tokens_priority" is
// that of input, above 272'000 tokens, at the priority tier.
struct PriceField {
    Rate rate = Rate::input;
    int64_t above = 0;  // for prompts of more tokens than this
    ServiceTier tier = ServiceTier::standard;
    bool per_thousand = false;
};

// Nothing for a name that is not a price, or of something that is not billed here (pages, videos,
// cache storage …).
std::optional<PriceField> price_field(std::string_view name) noexcept;

// The prices that a map lists for one model.
class PriceListing {
  public:
    // Replaces what is listed for the field.
    void set(const PriceField& field, AttoUsd price);

    std::optional<AttoUsd> exact(Rate rate, ServiceTier tier, int64_t above) const noexcept;
    // That of the longest threshold that is not above `above`, and more than `least`.
    struct Found {
        AttoUsd price;
        int64_t above;
    };
    std::optional<Found> longest(Rate rate, ServiceTier tier, int64_t above,
                                 int64_t least = -1) const noexcept;

    bool has_tier(ServiceTier tier) const noexcept;
    // Thresholds of the tier and of the standard one, 0 among them, in order.
    std::vector<int64_t> thresholds(ServiceTier tier) const;

    struct Item {
        PriceField field;
        AttoUsd price;
    };
    const std::vector<Item>& items() const noexcept { return items_; }

  private:
    std::vector<Item> items_;
};

// One entry of a price map.
struct PriceEntry {
    PriceListing listing;
    PriceListing off_peak;  // instead of the plain prices of the listing, in these hours:
    OffPeakHours off_peak_hours;
    Uplifts uplifts;
    std::string provider;
    int64_t max_output_tokens = 0;
    bool bills_each_search = false;
    bool reasons = false;

    // Resolves what the entry leaves out, the way that its provider bills it.
    ModelPrice resolve(std::string_view model) const;

  private:
    std::vector<RateCard> resolve_cards() const;
    std::shared_ptr<const OffPeak> resolve_off_peak() const;
    void resolve_tools(std::string_view model, ModelPrice& price) const;
};

}  // namespace llm
