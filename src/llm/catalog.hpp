#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "llm/endpoint.hpp"
#include "llm/prices.hpp"
#include "llm/tokenizer/model_tokens.hpp"

namespace llm {

// A provider's account: where it is and how it is spoken to.
struct Provider {
    std::string name;
    Dialect dialect = Dialect::openai;
    std::string scheme;         // "https"
    std::string authority;      // host[:port], for the Host header
    std::string host;           // for TLS
    std::string base_path;      // "/v1", no trailing slash
    std::string group;          // the nginx upstream group that reaches it
    std::string authorization;  // the whole header value, a secret; empty: none is sent
};

// What 95 of 100 answers stay within, in tokens: of models that answer at once, and of those that
// reason first. From published traces of production, rounded up:
//   Azure's LLM inference trace 2023 (github.com/Azure/AzurePublicDataset): conversations 451, with
//     a mean of 211; code completion 90, mean 28;
//   ServeGen (github.com/alibaba/ServeGen; arXiv 2505.09999), weighted by requests: m-large 539,
//   mean
//     155; deepseek-r1 5701, reasoning included, mean 1527.
inline constexpr int64_t kAnswerTokens = 600;
inline constexpr int64_t kReasonedAnswerTokens = 6000;

// One way to serve a logical model.
struct Deployment {
    const Provider* provider = nullptr;
    std::string model;  // the provider's own name for it
    std::string name;   // "<provider>/<model>"
    uint32_t weight = 1;
    bool backup = false;  // only after every other one
    ModelPrice price;
    int64_t max_output = 0;      // tokens: the operator's bound; 0: none beside the model's own
    int64_t default_output = 0;  // where the client sets none; 0: as much as is possible
    std::string_view bound_field = "max_tokens";  // what binds its output; a literal
    int64_t expected_output = kAnswerTokens;      // tokens: what an answer is likely to stay within
    tokenizer::ModelTokens tokens;                // how its prompts are counted
};

// The field of a chat completion that binds the output of a model of that name: "max_tokens", but
// OpenAI's reasoning models (o1, o3, gpt-5 …) refuse that and take "max_completion_tokens".
std::string_view bound_field_of(std::string_view model) noexcept;

struct LogicalModel {
    std::string name;
    std::vector<std::unique_ptr<Deployment>> deployments;
};

// The models that clients may name, and what stands behind each.
class Catalog {
  public:
    // nullptr: a provider of that name exists already.
    Provider* add_provider(Provider provider);
    const Provider* provider(std::string_view name) const noexcept;

    LogicalModel& model(std::string_view name);  // made if it is new
    // False if the alias or a model of that name exists already.
    bool add_alias(std::string_view alias, std::string_view target);

    // The logical model for a client's name, through at most one alias. nullptr: not known.
    const LogicalModel* resolve(std::string_view requested) const noexcept;

    using Models = std::map<std::string, LogicalModel, std::less<>>;
    using Aliases = std::map<std::string, std::string, std::less<>>;
    const Models& models() const noexcept { return models_; }
    Models& models() noexcept { return models_; }
    const Aliases& aliases() const noexcept { return aliases_; }

  private:
    std::map<std::string, std::unique_ptr<Provider>, std::less<>> providers_;
    Models models_;
    Aliases aliases_;
};

inline constexpr uint32_t kMaxWeight = 1'000'000;

// The order in which to try a model's deployments: a weighted random permutation of the ordinary
// ones (each place drawn in proportion to weight among what is left), then one of the backups.
// `random` is any source of uniform 32-bit numbers.
template <class Random>
std::vector<const Deployment*> route(const LogicalModel& model, Random& random);

namespace detail {

template <class Random>
void draw_by_weight(std::vector<const Deployment*> left, Random& random,
                    std::vector<const Deployment*>& order) {
    uint64_t total = 0;
    for (const Deployment* deployment : left) {
        total += deployment->weight;
    }
    while (!left.empty()) {
        uint64_t point = total * static_cast<uint32_t>(random()) >> 32;
        size_t i = 0;
        while (point >= left[i]->weight) {
            point -= left[i++]->weight;
        }
        order.push_back(left[i]);
        total -= left[i]->weight;
        left.erase(left.begin() + static_cast<ptrdiff_t>(i));
    }
}

}  // namespace detail

template <class Random>
std::vector<const Deployment*> route(const LogicalModel& model, Random& random) {
    std::vector<const Deployment*> order;
    order.reserve(model.deployments.size());
    for (const bool backup : {false, true}) {
        std::vector<const Deployment*> tier;
        for (const auto& deployment : model.deployments) {
            if (deployment->backup == backup) {
                tier.push_back(deployment.get());
            }
        }
        detail::draw_by_weight(std::move(tier), random, order);
    }
    return order;
}

// What to hold for a call that any of `order` may serve.
struct HoldBound {
    int64_t completion_tokens = 0;  // per request: all its choices together
    NanoUsd cost = 0;
};

// Output that a model without a published maximum is held to.
inline constexpr int64_t kDefaultMaxOutput = 4096;

// `asked`: the client's own max_tokens. Embeddings have no output.
HoldBound hold_bound(const std::vector<const Deployment*>& order, Endpoint endpoint,
                     int64_t prompt_tokens, std::optional<int64_t> asked, int64_t choices,
                     const RequestTraits& traits = {}) noexcept;

// What such a call is likely to use: Deployment::expected_output for each choice, at the tier that
// is asked for or else the standard one. Never above hold_bound(), if prompt_tokens is not.
HoldBound expected_hold(const std::vector<const Deployment*>& order, Endpoint endpoint,
                        int64_t prompt_tokens, std::optional<int64_t> asked, int64_t choices,
                        RequestTraits traits = {}) noexcept;

// The max_tokens to put into the body for this deployment, so that the bound binds there: it is
// less than what the client asks for, or the client sets none and the model's own maximum is
// another one. Nothing: leave it.
std::optional<int64_t> max_tokens_to_send(const Deployment& deployment, Endpoint endpoint,
                                          std::optional<int64_t> asked) noexcept;

}  // namespace llm
