#include "llm/price_reader.hpp"

#include <yajl/yajl_parse.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "llm/decimal.hpp"

namespace llm {

namespace {

constexpr std::string_view kSample = "sample_spec";  // describes the fields: not a model

// The rates of a provider's code interpreter, named like a model of it.
constexpr std::string_view kContainer = "/container";

std::string_view view(const unsigned char* text, size_t size) noexcept {
    return {reinterpret_cast<const char*>(text), size};
}

// Token limits in the wild are also strings, some of them prose: what is no count is not known.
int64_t token_limit(std::string_view text) noexcept {
    return parse_amount(text, 0, std::numeric_limits<int64_t>::max()).value_or(0);
}

std::optional<Rate> search_rate(std::string_view field) noexcept {
    if (field == "search_context_size_low") {
        return Rate::search_low;
    }
    if (field == "search_context_size_medium") {
        return Rate::search_medium;
    }
    return field == "search_context_size_high" ? std::optional(Rate::search_high) : std::nullopt;
}

std::string yajl_reason(yajl_handle parser) {
    unsigned char* text = yajl_get_error(parser, 0, nullptr, 0);
    std::string reason = reinterpret_cast<const char*>(text);
    yajl_free_error(parser, text);
    return reason.substr(0, reason.find('\n'));
}

}  // namespace

// What yajl calls; the context is the PriceReader. Nothing is thrown through yajl: what does not
// fit into memory ends the walk.
struct PriceReaderCallbacks {
    using Kind = PriceReader::Value::Kind;

    static PriceReader& self(void* context) noexcept { return *static_cast<PriceReader*>(context); }

    template <class Step>
    static int guarded(Step step) noexcept {
        try {
            return step();
        } catch (const std::bad_alloc&) {
            return 0;
        }
    }
    static int value(void* context, Kind kind, std::string_view text) noexcept {
        return guarded([&] { return self(context).on_value({kind, text}); });
    }
    static int null(void* context) noexcept { return value(context, Kind::other, {}); }
    static int boolean(void* context, int is_true) noexcept {
        return value(context, Kind::other, is_true != 0 ? "true" : "false");
    }
    static int number(void* context, const char* text, size_t size) noexcept {
        return value(context, Kind::number, {text, size});
    }
    static int string(void* context, const unsigned char* text, size_t size) noexcept {
        return value(context, Kind::text, view(text, size));
    }
    static int key(void* context, const unsigned char* text, size_t size) noexcept {
        return guarded([&] { return self(context).on_key(view(text, size)); });
    }
    static int open_map(void* context) noexcept {
        return guarded([&] { return self(context).on_open(true); });
    }
    static int open_array(void* context) noexcept {
        return guarded([&] { return self(context).on_open(false); });
    }
    static int close(void* context) noexcept {
        return guarded([&] { return self(context).on_close(); });
    }

    static constexpr yajl_callbacks kTable = {
        .yajl_null = null,
        .yajl_boolean = boolean,
        .yajl_integer = nullptr,
        .yajl_double = nullptr,
        .yajl_number = number,
        .yajl_string = string,
        .yajl_start_map = open_map,
        .yajl_map_key = key,
        .yajl_end_map = close,
        .yajl_start_array = open_array,
        .yajl_end_array = close,
    };
};

std::string PriceReader::read(std::string_view json) {
    const std::unique_ptr<yajl_handle_t, decltype(&yajl_free)> parser(
        yajl_alloc(&PriceReaderCallbacks::kTable, nullptr, this), yajl_free);
    if (!parser) {
        return "no memory";
    }
    size_t stopped_at = json.size();
    yajl_status status =
        yajl_parse(parser.get(), reinterpret_cast<const unsigned char*>(json.data()), json.size());
    if (status != yajl_status_ok) {
        stopped_at = std::min(yajl_get_bytes_consumed(parser.get()), json.size());
    } else {
        status = yajl_complete_parse(parser.get());
    }
    if (status == yajl_status_ok) {
        share_containers();
        return {};
    }
    const auto line = 1 + std::count(json.begin(), json.begin() + stopped_at, '\n');
    return "line " + std::to_string(line) + ": " +
           (why_.empty() ? yajl_reason(parser.get()) : why_);
}

bool PriceReader::refuse(std::string why) {
    why_ = model_.empty() ? std::move(why) : "model \"" + model_ + "\": " + why;
    return false;
}

// What the container that begins is. A price of its own cannot be one.
PriceReader::Place PriceReader::child(bool map) const {
    const auto is = [&](std::string_view field, bool is_map) {
        return field_ == field && map == is_map;
    };
    switch (place()) {
        case Place::model:
            return is("tiered_pricing", false)                 ? Place::ranges
                   : is("search_context_cost_per_query", true) ? Place::searches
                   : is("provider_specific_entry", true)       ? Place::uplifts
                   : is("off_peak_pricing", true)              ? Place::off_peak
                                                               : Place::ignored;
        case Place::ranges:
            return map ? Place::range : Place::ignored;
        case Place::range:
            return is("range", false) ? Place::range_ends : Place::ignored;
        case Place::off_peak:
            return is("windows", false)     ? Place::windows
                   : is("hours_utc", false) ? Place::hours
                                            : Place::ignored;
        case Place::windows:
            return map ? Place::window : Place::ignored;
        case Place::window:
            return is("hours_utc", false)  ? Place::hours
                   : is("weekdays", false) ? Place::weekdays
                                           : Place::ignored;
        default:
            return Place::ignored;
    }
}

bool PriceReader::must_be_number() const noexcept {
    switch (place()) {
        case Place::model:
        case Place::range:
        case Place::off_peak:
            return price_field(field_).has_value();
        case Place::searches:
            return search_rate(field_).has_value();
        default:
            return false;
    }
}

bool PriceReader::on_open(bool map) {
    if (places_.empty() || place() == Place::file) {
        if (!map) {
            return refuse("an object is expected");
        }
        const Place next = model_ == kSample ? Place::ignored : Place::model;
        places_.push_back(places_.empty() ? Place::file : next);
        return true;
    }
    if (must_be_number()) {
        return refuse(field_ + " is not a number");
    }
    places_.push_back(child(map));
    if (place() == Place::range) {
        range_ = {};
        range_ends_.clear();
    } else if (place() == Place::window) {
        hours_.clear();
        weekdays_ = OffPeakHours::kEveryDay;
    } else if (place() == Place::weekdays) {
        weekdays_ = 0;
    }
    return true;
}

bool PriceReader::on_close() {
    const Place closed = place();
    places_.pop_back();
    if (closed == Place::range) {
        close_range();
    } else if (closed == Place::window || (closed == Place::hours && place() == Place::off_peak)) {
        close_window();
    } else if (closed == Place::model) {
        close_model();
    }
    if (place() == Place::file) {
        model_.clear();
    }
    return true;
}

bool PriceReader::on_key(std::string_view key) {
    if (place() != Place::file) {
        field_ = key;
        return true;
    }
    model_ = key;
    entry_ = {};
    max_tokens_ = 0;
    generates_ = false;
    knows_calendar_ = true;
    return true;
}

bool PriceReader::on_value(const Value& value) {
    switch (place()) {
        case Place::file:
            return refuse("an object is expected");
        case Place::model:
            return set_field(value);
        case Place::range:
            return set_price(range_, value);
        case Place::range_ends:
            return add_range_end(value);
        case Place::searches:
            return set_search(value);
        case Place::uplifts:
            return set_specific(value);
        case Place::off_peak:
            return set_off_peak(value);
        case Place::window:
        case Place::hours:
            if (value.kind == Value::Kind::text) {
                hours_.emplace_back(value.text);
            }
            return true;
        case Place::weekdays:
            weekdays_ |= OffPeakHours::weekday(value.text);
            return true;
        default:
            return true;
    }
}

bool PriceReader::set_price_of(const PriceField& field, PriceListing& listing, const Value& value) {
    constexpr int kAttoDigits = 18;
    const auto number =
        value.kind == Value::Kind::other ? std::nullopt : Decimal::parse(value.text);
    if (!number) {
        return refuse(field_ + " is not a number");
    }
    if (number->is_negative()) {
        return refuse(field_ + " is negative");
    }
    const int digits = field.per_thousand ? kAttoDigits - 3 : kAttoDigits;
    const bool of_token = is_token_rate(field.rate);
    const auto price = number->scaled(digits, of_token ? kMaxTokenRate : kMaxUnitRate,
                                      Decimal::Fraction::round_up);
    if (!price) {
        return refuse(field_ + (of_token ? " is above 1 USD per token" : " is above 9 USD"));
    }
    listing.set(field, *price);
    return true;
}

bool PriceReader::set_price(PriceListing& listing, const Value& value) {
    const auto field = price_field(field_);
    return field ? set_price_of(*field, listing, value) : true;
}

bool PriceReader::set_search(const Value& value) {
    const auto rate = search_rate(field_);
    if (!rate) {
        return true;
    }
    PriceField field;
    field.rate = *rate;
    return set_price_of(field, entry_.listing, value);
}

bool PriceReader::set_uplift(int64_t& uplift, const Value& value) {
    constexpr int kDigits = 3;
    const auto number =
        value.kind == Value::Kind::other ? std::nullopt : Decimal::parse(value.text);
    if (!number || number->is_negative()) {
        return refuse(field_ + " is not a factor");
    }
    const auto factor = number->scaled(kDigits, Uplifts::kMax, Decimal::Fraction::round_up);
    if (!factor) {
        return refuse(field_ + " is above 100");
    }
    uplift = *factor;
    return true;
}

bool PriceReader::set_specific(const Value& value) {
    if (field_ == "us") {
        return set_uplift(entry_.uplifts.us, value);
    }
    if (field_ == "eu") {
        return set_uplift(entry_.uplifts.eu, value);
    }
    return field_ == "fast" ? set_uplift(entry_.uplifts.fast, value) : true;
}

bool PriceReader::set_field(const Value& value) {
    if (const auto field = price_field(field_)) {
        return set_price_of(*field, entry_.listing, value);
    }
    if (field_ == "regional_processing_uplift_multiplier_us") {
        return set_uplift(entry_.uplifts.us, value);
    }
    if (field_ == "regional_processing_uplift_multiplier_eu") {
        return set_uplift(entry_.uplifts.eu, value);
    }
    if (field_ == "regional_endpoint_uplift_multiplier") {
        return set_uplift(entry_.uplifts.regional, value);
    }
    const bool is_text = value.kind == Value::Kind::text;
    if (field_ == "max_output_tokens") {
        entry_.max_output_tokens = token_limit(value.text);
    } else if (field_ == "max_tokens") {
        max_tokens_ = token_limit(value.text);
    } else if (field_ == "mode") {
        generates_ = is_text && (value.text == "chat" || value.text == "completion");
    } else if (field_ == "litellm_provider" && is_text) {
        entry_.provider = value.text;
    } else if (field_ == "supports_reasoning") {
        entry_.reasons = value.text == "true";
    } else if (field_ == "web_search_billing_unit") {
        entry_.bills_each_search = value.text == "per_query";
    }
    return true;
}

bool PriceReader::add_range_end(const Value& value) {
    const auto number =
        value.kind == Value::Kind::number ? Decimal::parse(value.text) : std::nullopt;
    const auto tokens = !number || number->is_negative()
                            ? std::nullopt
                            : number->scaled(0, kMaxCount, Decimal::Fraction::refuse);
    if (!tokens) {
        return refuse("range is not of token counts");
    }
    range_ends_.push_back(*tokens);
    return true;
}

// A range is what holds above its beginning: the last one goes on for ever.
void PriceReader::close_range() {
    if (range_ends_.size() != 2) {
        return;
    }
    for (const auto& [listed, price] : range_.items()) {
        if (is_token_rate(listed.rate)) {
            PriceField field = listed;
            field.above = range_ends_.front();
            entry_.listing.set(field, price);
        }
    }
}

bool PriceReader::set_off_peak(const Value& value) {
    if (field_ == "hours_utc" && value.kind == Value::Kind::text) {
        entry_.off_peak_hours.add(value.text, OffPeakHours::kEveryDay);
    } else if (field_ == "weekday_timezone") {
        knows_calendar_ = entry_.off_peak_hours.set_calendar(value.text);
    }
    return set_price(entry_.off_peak, value);
}

// Hours that cannot be read are no off-peak hours.
void PriceReader::close_window() {
    for (const std::string& hours : hours_) {
        entry_.off_peak_hours.add(hours, weekdays_);
    }
    hours_.clear();
    weekdays_ = OffPeakHours::kEveryDay;
}

void PriceReader::close_model() {
    if (entry_.listing.items().empty()) {
        return;
    }
    if (!knows_calendar_) {
        entry_.off_peak_hours = {};
    }
    if (entry_.max_output_tokens == 0 && generates_) {
        entry_.max_output_tokens = max_tokens_;
    }
    ModelPrice& price = models_.insert_or_assign(model_, entry_.resolve(model_)).first->second;
    providers_.emplace_back(&price, entry_.provider);
}

void PriceReader::share_containers() {
    for (auto& [price, provider] : providers_) {
        const auto container = models_.find(provider.append(kContainer));
        if (container != models_.end()) {
            price->take_container_price(container->second);
        }
    }
}

}  // namespace llm
