#pragma once

#include <cstdint>

namespace llm {

// What one response used, in tokens, in OpenAI's sense: `prompt_tokens` includes cached and
// cache-write tokens, `completion_tokens` includes reasoning tokens.
struct Usage {
    int64_t prompt_tokens = 0;
    int64_t completion_tokens = 0;
    int64_t cached_tokens = 0;       // prompt tokens read from the provider's cache
    int64_t cache_write_tokens = 0;  // prompt tokens written to it
    int64_t reasoning_tokens = 0;
    int64_t audio_prompt_tokens = 0;
    int64_t audio_completion_tokens = 0;

    int64_t total_tokens() const noexcept { return prompt_tokens + completion_tokens; }
    bool operator==(const Usage&) const = default;
};

// Where a usage comes from.
enum class UsageSource : uint8_t {
    none,      // nothing was used: refused here, or by the provider
    reported,  // by the provider
    counted,   // by us, from the bytes that passed (estimated)
    held,      // unknown: the hold is the charge (estimated)
};

}  // namespace llm
