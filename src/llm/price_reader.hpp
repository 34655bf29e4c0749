#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "llm/price_entry.hpp"

namespace llm {

// Reads a price map while yajl walks it.
class PriceReader {
  public:
    using Models = std::map<std::string, ModelPrice, std::less<>>;

    // The sentence of the failure, with its line; empty on success.
    std::string read(std::string_view json);
    Models take_models() noexcept { return std::move(models_); }

  private:
    friend struct PriceReaderCallbacks;

    // Where the walk is: what the values of a container are.
    enum class Place : uint8_t {
        file,
        model,
        ranges,  // tiered_pricing
        range,
        range_ends,
        searches,  // search_context_cost_per_query
        uplifts,   // provider_specific_entry
        off_peak,  // off_peak_pricing
        windows,   // … its rules by the day of the week
        window,
        hours,
        weekdays,
        ignored
    };

    struct Value {
        enum class Kind : uint8_t { number, text, other } kind;
        std::string_view text;
    };

    bool on_open(bool map);
    bool on_close();
    bool on_key(std::string_view key);
    bool on_value(const Value& value);

    Place place() const noexcept { return places_.empty() ? Place::file : places_.back(); }
    Place child(bool map) const;
    bool must_be_number() const noexcept;
    bool refuse(std::string why);
    bool set_field(const Value& value);
    bool set_price(PriceListing& listing, const Value& value);
    bool set_price_of(const PriceField& field, PriceListing& listing, const Value& value);
    bool set_search(const Value& value);
    bool set_uplift(int64_t& uplift, const Value& value);
    bool set_specific(const Value& value);
    bool add_range_end(const Value& value);
    bool set_off_peak(const Value& value);
    void add_weekday(const Value& value);
    void close_range();
    void close_window();
    void close_model();
    void share_containers();

    Models models_;
    std::vector<std::pair<ModelPrice*, std::string>> providers_;  // whose each model is
    std::vector<Place> places_;                                   // the containers around the walk
    std::string model_;
    std::string field_;
    std::string why_;

    PriceEntry entry_;
    int64_t max_tokens_ = 0;
    bool generates_ = false;  // max_tokens is a limit of output
    PriceListing range_;
    std::vector<int64_t> range_ends_;
    std::vector<std::string> hours_;
    uint8_t weekdays_ = OffPeakHours::kEveryDay;
    bool knows_calendar_ = true;
};

}  // namespace llm
