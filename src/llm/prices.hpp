#pragma once

#include <map>
#include <string>
#include <string_view>

#include "llm/model_price.hpp"
#include "llm/result.hpp"
#include "llm/usd.hpp"

namespace llm {

// LiteLLM's price map (model_prices_and_context_window.json): {"gpt-4o-mini":
// {"input_cost_per_token": 1.5e-07, …}, …}. Entries without a price are skipped; "sample_spec" is
// not a model. A price is converted from its decimal text exactly; one finer than an atto-USD is
// rounded up. A failure names the line, and the model where there is one: malformed JSON, an entry
// that is no object, a price that is no number, negative or above kMaxTokenRate or kMaxUnitRate.
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
