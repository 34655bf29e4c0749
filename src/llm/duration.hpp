#pragma once

#include <cstdint>
#include <string>

namespace llm {

// A duration as OpenAI writes it in x-ratelimit-reset-*: "120ms", "1s", "6m0s", "1h0m30s". Above a second it is
// rounded up to whole seconds.
std::string format_duration(int64_t ms);

}  // namespace llm
