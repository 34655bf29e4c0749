#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "llm/tokenizer/encoding.hpp"

namespace llm::tokenizer {

// More JSON than this is not taken apart, since that is not done in slices: the slowest of this
// size takes 0.8 ms.
inline constexpr size_t kMaxToolBytes = 6 * 1024;

// What the raw JSON of one of "tools" or "functions" adds to a prompt, by OpenAI's cookbook ("How
// to count tokens with tiktoken"), which agrees with the API on its examples; it gives no rule for
// objects in objects: they are counted like those around them, and were off by up to 3 tokens.
// Takes the shapes of Chat Completions, of Responses and of Anthropic (input_schema). Nothing: it
// is no function, or too long; then its text is to be counted.
std::optional<int64_t> tool_tokens(std::string_view json, int64_t per_function, Encoding& encoding);

// What the raw JSON of "tool_choice" or "function_call" adds: 1 for "none", 7 and its name for a
// function (LiteLLM's rule, which has no source of OpenAI's). Nothing: it is something else.
std::optional<int64_t> tool_choice_tokens(std::string_view json, Encoding& encoding);

// The schema in the raw JSON of "response_format" and the like: the first object under a key
// "schema", whole; all, if there is none; empty: there are but settings, as in {"type":"text"}. No
// provider says how a schema is shown to its model; its text is the guess.
std::string_view schema_in(std::string_view json);

}  // namespace llm::tokenizer
