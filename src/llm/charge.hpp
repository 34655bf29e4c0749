#pragma once

#include <cstdint>

#include "llm/prices.hpp"
#include "llm/response_tap.hpp"
#include "llm/usage.hpp"

namespace llm {

// How a request ended, as far as its price depends on it.
struct Ending {
    bool unanswered =
        false;  // a provider was sent the request and gave no answer: it may have billed it
    int provider_status = 0;  // of the answer that the client got; 0: there was none
    bool parsed = false;      // the answer could be read at all (not so if it was compressed)
    bool stream = false;
    ResponseFacts facts;
    int64_t output_tokens = 0;  // counted, or bounded, for an answer without usage
};

// What was held: the bounds that a charge by count keeps to.
struct HeldTokens {
    int64_t prompt = 0;
    int64_t completion = 0;
    NanoUsd cost = 0;
};

struct Charge {
    Usage usage;
    UsageSource source = UsageSource::none;
    Cost cost;
};

// The usage to charge: what the provider reported; else what was counted; else, when nobody can
// know, the hold. A refusal by the provider (status ≥ 300) costs nothing.
Charge charge(const Ending& ending, const HeldTokens& held, const ModelPrice& price) noexcept;

}  // namespace llm
