#include "llm/prices.hpp"

#include <openssl/sha.h>
#include <yajl/yajl_parse.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "llm/decimal.hpp"

namespace llm {

namespace {

constexpr int64_t kPicoPerNano = 1000;

// A cost has three parts: at a quarter of the range each, their sum cannot overflow.
constexpr NanoUsd kMaxPart = std::numeric_limits<NanoUsd>::max() / 4;

__extension__ using Wide = __int128;

Wide product(int64_t tokens, PicoUsd rate) {
    return static_cast<Wide>(tokens) * rate;
}

NanoUsd nano_ceil(Wide pico, NanoUsd limit) {
    const Wide nano = (pico + kPicoPerNano - 1) / kPicoPerNano;
    return nano > limit ? limit : static_cast<NanoUsd>(nano);
}

std::string price_version(std::string_view text) {
    constexpr size_t kBytes = 6;
    constexpr char kHex[] = "0123456789abcdef";
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
    std::string version;
    for (size_t i = 0; i < kBytes; ++i) {
        version += kHex[digest[i] >> 4];
        version += kHex[digest[i] & 15];
    }
    return version;
}

// Builds the models while yajl walks the file: depth 1 holds model names, depth 2 their fields.
class PriceReader {
  public:
    using Models = std::map<std::string, ModelPrice, std::less<>>;

    // The sentence of the failure; empty on success.
    std::string read(std::string_view json);
    Models take_models() noexcept { return std::move(models_); }

  private:
    enum class Kind { number, string, other };

    struct Entry {
        std::optional<PicoUsd> input, output, cache_read, cache_write;
        int64_t max_output_tokens = 0;
        int64_t max_tokens = 0;
        bool generates = false;  // its max_tokens is a limit of output
    };

    static const yajl_callbacks kCallbacks;
    static PriceReader& self(void* context) { return *static_cast<PriceReader*>(context); }
    static int on_key(void* context, const unsigned char* text, size_t size) noexcept;
    static int on_start(void* context, bool map) noexcept;
    static int on_end(void* context) noexcept;
    static int on_scalar(void* context, Kind kind, std::string_view text) noexcept;

    bool refuse(std::string why);
    bool set_field(Kind kind, std::string_view text);
    bool set_price(std::optional<PicoUsd>& price, Kind kind, std::string_view text);
    std::optional<PicoUsd>* price_field() noexcept;
    void keep_entry();

    Models models_;
    std::string model_;
    std::string field_;
    Entry entry_;
    std::string why_;
    int depth_ = 0;
};

std::string_view view(const unsigned char* text, size_t size) {
    return {reinterpret_cast<const char*>(text), size};
}

bool PriceReader::refuse(std::string why) {
    why_ = model_.empty() ? std::move(why) : "model \"" + model_ + "\": " + why;
    return false;
}

std::optional<PicoUsd>* PriceReader::price_field() noexcept {
    if (field_ == "input_cost_per_token") {
        return &entry_.input;
    }
    if (field_ == "output_cost_per_token") {
        return &entry_.output;
    }
    if (field_ == "cache_read_input_token_cost") {
        return &entry_.cache_read;
    }
    if (field_ == "cache_creation_input_token_cost") {
        return &entry_.cache_write;
    }
    return nullptr;
}

bool PriceReader::set_price(std::optional<PicoUsd>& price, Kind kind, std::string_view text) {
    constexpr int kPicoDigits = 12;
    const auto number = kind == Kind::other ? std::nullopt : Decimal::parse(text);
    if (!number) {
        return refuse(field_ + " is not a number");
    }
    if (number->is_negative()) {
        return refuse(field_ + " is negative");
    }
    price = number->scaled(kPicoDigits, ModelPrice::kMaxRate, Decimal::Fraction::round_up);
    return price ? true : refuse(field_ + " is above 1 USD per token");
}

// Token limits in the wild are also strings, some of them prose: what is no count is not known.
int64_t token_limit(std::string_view text) {
    return parse_amount(text, 0, std::numeric_limits<int64_t>::max()).value_or(0);
}

bool PriceReader::set_field(Kind kind, std::string_view text) {
    if (auto* price = price_field()) {
        return set_price(*price, kind, text);
    }
    if (field_ == "max_output_tokens") {
        entry_.max_output_tokens = token_limit(text);
    } else if (field_ == "max_tokens") {
        entry_.max_tokens = token_limit(text);
    } else if (field_ == "mode") {
        entry_.generates = kind == Kind::string && (text == "chat" || text == "completion");
    }
    return true;
}

void PriceReader::keep_entry() {
    if (!entry_.input && !entry_.output) {
        return;
    }
    ModelPrice price;
    price.input = entry_.input.value_or(0);
    price.output = entry_.output.value_or(0);
    price.cache_read = entry_.cache_read.value_or(price.input);
    price.cache_write = entry_.cache_write.value_or(price.input);
    price.max_output_tokens = entry_.max_output_tokens;
    if (price.max_output_tokens == 0 && entry_.generates) {
        price.max_output_tokens = entry_.max_tokens;
    }
    models_.insert_or_assign(model_, price);
}

int PriceReader::on_key(void* context, const unsigned char* text, size_t size) noexcept {
    PriceReader& reader = self(context);
    if (reader.depth_ == 1) {
        reader.model_ = view(text, size);
        reader.entry_ = {};
    } else if (reader.depth_ == 2) {
        reader.field_ = view(text, size);
    }
    return 1;
}

int PriceReader::on_start(void* context, bool map) noexcept {
    PriceReader& reader = self(context);
    if (reader.depth_ < 2 && !map) {
        return reader.refuse("an object is expected");
    }
    if (reader.depth_ == 2 && reader.model_ != "sample_spec" && reader.price_field()) {
        return reader.refuse(reader.field_ + " is not a number");
    }
    ++reader.depth_;
    return 1;
}

int PriceReader::on_end(void* context) noexcept {
    PriceReader& reader = self(context);
    --reader.depth_;
    if (reader.depth_ == 1) {
        if (reader.model_ != "sample_spec") {
            reader.keep_entry();
        }
        reader.model_.clear();
    }
    return 1;
}

int PriceReader::on_scalar(void* context, Kind kind, std::string_view text) noexcept {
    PriceReader& reader = self(context);
    if (reader.depth_ < 2) {
        return reader.refuse("an object is expected");
    }
    if (reader.depth_ > 2 || reader.model_ == "sample_spec") {
        return 1;
    }
    return reader.set_field(kind, text);
}

const yajl_callbacks PriceReader::kCallbacks = {
    .yajl_null = [](void* c) noexcept { return on_scalar(c, Kind::other, {}); },
    .yajl_boolean = [](void* c, int) noexcept { return on_scalar(c, Kind::other, {}); },
    .yajl_integer = nullptr,
    .yajl_double = nullptr,
    .yajl_number =
        [](void* c, const char* text, size_t size) noexcept {
            return on_scalar(c, Kind::number, {text, size});
        },
    .yajl_string =
        [](void* c, const unsigned char* text, size_t size) noexcept {
            return on_scalar(c, Kind::string, view(text, size));
        },
    .yajl_start_map = [](void* c) noexcept { return on_start(c, true); },
    .yajl_map_key = on_key,
    .yajl_end_map = on_end,
    .yajl_start_array = [](void* c) noexcept { return on_start(c, false); },
    .yajl_end_array = on_end,
};

std::string yajl_reason(yajl_handle parser) {
    unsigned char* text = yajl_get_error(parser, 0, nullptr, 0);
    std::string reason = reinterpret_cast<const char*>(text);
    yajl_free_error(parser, text);
    return reason.substr(0, reason.find('\n'));
}

std::string PriceReader::read(std::string_view json) {
    const std::unique_ptr<yajl_handle_t, decltype(&yajl_free)> parser(
        yajl_alloc(&kCallbacks, nullptr, this), yajl_free);
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
        return {};
    }
    const auto line = 1 + std::count(json.begin(), json.begin() + stopped_at, '\n');
    return "line " + std::to_string(line) + ": " +
           (why_.empty() ? yajl_reason(parser.get()) : why_);
}

}  // namespace

Cost ModelPrice::cost(const Usage& usage) const noexcept {
    const int64_t prompt = std::max<int64_t>(usage.prompt_tokens, 0);
    const int64_t read = std::clamp<int64_t>(usage.cached_tokens, 0, prompt);
    const int64_t written = std::clamp<int64_t>(usage.cache_write_tokens, 0, prompt - read);
    const int64_t completion = std::max<int64_t>(usage.completion_tokens, 0);

    Cost cost;
    cost.input = nano_ceil(product(prompt - read - written, input), kMaxPart);
    cost.cached = nano_ceil(product(read, cache_read) + product(written, cache_write), kMaxPart);
    cost.output = nano_ceil(product(completion, output), kMaxPart);
    return cost;
}

NanoUsd ModelPrice::upper_bound(int64_t prompt_tokens, int64_t completion_tokens) const noexcept {
    const int64_t prompt = std::max<int64_t>(prompt_tokens, 0);
    const int64_t completion = std::max<int64_t>(completion_tokens, 0);
    const PicoUsd dearest = std::max({input, cache_read, cache_write});

    // A prompt that is split between the input and the cached part is rounded up twice, if both of
    // them can have a fraction of a nano-USD.
    const bool cached_rounds = cache_read % kPicoPerNano != 0 || cache_write % kPicoPerNano != 0;
    const bool rounds_twice = prompt > 1 && input % kPicoPerNano != 0 && cached_rounds;
    const Wide second_rounding = rounds_twice ? kPicoPerNano : 0;

    return nano_ceil(product(prompt, dearest) + second_rounding, 2 * kMaxPart) +
           nano_ceil(product(completion, output), kMaxPart);
}

bool ModelPrice::is_free() const noexcept {
    return input == 0 && output == 0 && cache_read == 0 && cache_write == 0;
}

std::optional<PicoUsd> parse_usd_per_million(std::string_view text) noexcept {
    constexpr int kScale = 12 - 6;  // pico-USD of one token, from USD of a million
    return parse_amount(text, kScale, ModelPrice::kMaxRate);
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

Result<PriceTable> PriceTable::parse(std::string_view json) {
    PriceReader reader;
    std::string why = reader.read(json);
    if (!why.empty()) {
        return Result<PriceTable>::failure(std::move(why));
    }
    PriceTable table;
    table.models_ = reader.take_models();
    table.version_ = price_version(json);
    return table;
}

const ModelPrice* PriceTable::find(std::string_view model) const noexcept {
    const auto it = models_.find(model);
    return it == models_.end() ? nullptr : &it->second;
}

}  // namespace llm
