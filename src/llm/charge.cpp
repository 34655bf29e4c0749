#include "llm/charge.hpp"

#include <algorithm>

namespace llm {

namespace {

UsageSource source_of(const Ending& ending) noexcept {
    if (ending.provider_status == 0 || ending.provider_status >= 300) {
        return ending.unanswered ? UsageSource::held : UsageSource::none;
    }
    if (!ending.parsed) {
        return UsageSource::held;
    }
    if (ending.facts.has_usage) {
        return UsageSource::reported;
    }
    // A stream may end early and is still known up to there; half a JSON body tells nothing.
    const bool countable = ending.stream || ending.facts.complete;
    return countable && !ending.facts.malformed ? UsageSource::counted : UsageSource::held;
}

}  // namespace

Charge charge(const Ending& ending, const HeldTokens& held, const ModelPrice& price) noexcept {
    Charge charge;
    charge.source = source_of(ending);
    switch (charge.source) {
        case UsageSource::none:
            return charge;
        case UsageSource::reported:
            charge.usage = ending.facts.usage;
            break;
        case UsageSource::counted:
            charge.usage = ending.facts.usage;
            if (!ending.facts.has_prompt) {
                charge.usage.prompt_tokens = held.prompt;
            }
            charge.usage.completion_tokens = std::min(ending.output_tokens, held.completion);
            break;
        case UsageSource::held:
            charge.usage.prompt_tokens = held.prompt;
            charge.usage.completion_tokens = held.completion;
            break;
    }
    charge.cost = price.cost(charge.usage);
    if (charge.source == UsageSource::held) {
        // The hold was made for the dearest deployment: what it has above this one's price is
        // output.
        charge.cost.output += held.cost - charge.cost.total();
    }
    return charge;
}

}  // namespace llm
