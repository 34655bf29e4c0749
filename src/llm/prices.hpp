#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "llm/result.hpp"
#include "llm/usage.hpp"

namespace llm {

using NanoUsd = int64_t;  // 1e-9 USD
using PicoUsd = int64_t;  // 1e-12 USD, per token

struct Cost {
    NanoUsd input = 0;   // prompt tokens that were not read from the cache
    NanoUsd cached = 0;  // cache reads and writes
    NanoUsd output = 0;
    NanoUsd total() const noexcept { return input + cached + output; }
};

// Rates in pico-USD per token, 0 to kMaxRate. A rate that the price file leaves out is the plain
// one of its side.
struct ModelPrice {
    static constexpr PicoUsd kMaxRate = 1'000'000'000'000;  // one USD per token

    PicoUsd input = 0;
    PicoUsd output = 0;
    PicoUsd cache_read = 0;
    PicoUsd cache_write = 0;
    int64_t max_output_tokens = 0;  // most the model can produce; 0: not known

    // Each part is rounded up to a whole nano-dollar, so that a cost never exceeds the sum of the
    // parts of a hold that covers it. Counts that contradict each other are clamped (no part of a
    // prompt is larger than the prompt, nothing is negative); a part saturates at a quarter of
    // int64's range.
    Cost cost(const Usage& usage) const noexcept;

    // No call with at most these tokens costs more. (A prompt may be billed as cache write.)
    NanoUsd upper_bound(int64_t prompt_tokens, int64_t completion_tokens) const noexcept;

    bool is_free() const noexcept;
};

// "0.15" USD per one million tokens → 150'000 pico-USD per token. Nothing for a malformed, negative
// or too large (> 1e6) number, or one finer than a pico-USD per token.
std::optional<PicoUsd> parse_usd_per_million(std::string_view text) noexcept;

// "1000", "0.5", "12.34" USD → nano-USD. Nothing for a malformed or negative amount, one above 9e9
// USD, or one finer than a nano-USD.
std::optional<NanoUsd> parse_usd(std::string_view text) noexcept;

// Decimal USD without trailing zeros: "0.000123", "12", "-0.5".
std::string format_usd(NanoUsd amount);

// LiteLLM's price-map format: {"gpt-4o-mini": {"input_cost_per_token": 1.5e-07, …}, …}. Entries
// without a token price are skipped; "sample_spec" is not a model. A price is converted exactly
// from its decimal text; one finer than a pico-USD is rounded up. A failure names the line, and the
// model where there is one: malformed JSON, an entry that is no object, a price that is no number,
// negative or above kMaxRate.
class PriceTable {
  public:
    static Result<PriceTable> parse(std::string_view json);

    // nullptr: no price known for this model.
    const ModelPrice* find(std::string_view model) const noexcept;
    size_t size() const noexcept { return models_.size(); }
    // First 12 hex digits of the file's SHA-256: names the price version a row was charged with.
    const std::string& version() const noexcept { return version_; }

  private:
    std::map<std::string, ModelPrice, std::less<>> models_;
    std::string version_;
};

}  // namespace llm
