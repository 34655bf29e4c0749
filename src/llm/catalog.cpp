#include "llm/catalog.hpp"

#include <algorithm>
#include <limits>

namespace llm {

Provider* Catalog::add_provider(Provider provider) {
    const std::string name = provider.name;
    const auto [it, is_new] =
        providers_.emplace(name, std::make_unique<Provider>(std::move(provider)));
    return is_new ? it->second.get() : nullptr;
}

const Provider* Catalog::provider(std::string_view name) const noexcept {
    const auto it = providers_.find(name);
    return it == providers_.end() ? nullptr : it->second.get();
}

LogicalModel& Catalog::model(std::string_view name) {
    const auto it = models_.find(name);
    if (it != models_.end()) {
        return it->second;
    }
    LogicalModel& model = models_[std::string(name)];
    model.name = name;
    return model;
}

bool Catalog::add_alias(std::string_view alias, std::string_view target) {
    return aliases_.emplace(alias, target).second;
}

const LogicalModel* Catalog::resolve(std::string_view requested) const noexcept {
    const auto alias = aliases_.find(requested);
    const auto it = models_.find(alias == aliases_.end() ? requested : alias->second);
    return it == models_.end() ? nullptr : &it->second;
}

std::string_view bound_field_of(std::string_view model) noexcept {
    model.remove_prefix(model.rfind('/') + 1);
    const bool is_o = model.size() > 1 && model[0] == 'o' && model[1] >= '1' && model[1] <= '9';
    return is_o || model.starts_with("gpt-5") ? "max_completion_tokens" : "max_tokens";
}

namespace {

int64_t saturating_product(int64_t a, int64_t b) noexcept {
    int64_t product = 0;
    return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<int64_t>::max() : product;
}

// The most that the deployment lets anyone have; 0: not known.
int64_t max_output(const Deployment& deployment) noexcept {
    const int64_t published = deployment.price.max_output_tokens;
    if (published == 0 || deployment.max_output == 0) {
        return std::max(published, deployment.max_output);
    }
    return std::min(published, deployment.max_output);
}

// The most that one choice can produce at this deployment.
int64_t output_bound(const Deployment& deployment, std::optional<int64_t> asked) noexcept {
    const int64_t most = max_output(deployment);
    if (!asked && deployment.default_output > 0) {
        asked = deployment.default_output;
    }
    if (!asked) {
        return most > 0 ? most : kDefaultMaxOutput;
    }
    return most > 0 ? std::min(*asked, most) : *asked;
}

// For the dearest deployment and the longest answer; `output_of` tells that of one choice.
template <class OutputOf>
HoldBound hold_for(const std::vector<const Deployment*>& order, Endpoint endpoint,
                   int64_t prompt_tokens, int64_t choices, const RequestTraits& traits,
                   OutputOf output_of) noexcept {
    HoldBound bound;
    for (const Deployment* deployment : order) {
        int64_t output = 0;
        if (endpoint != Endpoint::embeddings) {
            output = saturating_product(output_of(*deployment), choices);
        }
        bound.completion_tokens = std::max(bound.completion_tokens, output);
        bound.cost =
            std::max(bound.cost, deployment->price.upper_bound(prompt_tokens, output, traits));
    }
    return bound;
}

}  // namespace

HoldBound hold_bound(const std::vector<const Deployment*>& order, Endpoint endpoint,
                     int64_t prompt_tokens, std::optional<int64_t> asked, int64_t choices,
                     const RequestTraits& traits) noexcept {
    return hold_for(order, endpoint, prompt_tokens, choices, traits,
                    [asked](const Deployment& each) { return output_bound(each, asked); });
}

HoldBound expected_hold(const std::vector<const Deployment*>& order, Endpoint endpoint,
                        int64_t prompt_tokens, std::optional<int64_t> asked, int64_t choices,
                        RequestTraits traits) noexcept {
    traits.tier = traits.tier.value_or(ServiceTier::standard);
    return hold_for(order, endpoint, prompt_tokens, choices, traits,
                    [asked](const Deployment& each) {
                        return std::min(output_bound(each, asked), each.expected_output);
                    });
}

std::optional<int64_t> max_tokens_to_send(const Deployment& deployment, Endpoint endpoint,
                                          std::optional<int64_t> asked) noexcept {
    if (endpoint == Endpoint::embeddings) {
        return std::nullopt;
    }
    const int64_t bound = output_bound(deployment, asked);
    if (asked) {
        return bound < *asked ? std::optional(bound) : std::nullopt;
    }
    return deployment.price.max_output_tokens == bound ? std::nullopt : std::optional(bound);
}

}  // namespace llm
