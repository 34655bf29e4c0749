#pragma once

#include <cstdint>
#include <string_view>

namespace llm {

// What a client may call.
enum class Endpoint : uint8_t {
    unknown,
    chat_completions,
    completions,
    embeddings,
    models,
    token_counter,  // LiteLLM's POST /utils/token_counter
    cost,           // and its POST /spend/calculate, /cost/estimate
    model_info,     // and its GET /model/info
    messages,       // Anthropic's; has no route yet
    responses,      // OpenAI's; has no route yet
};

// How a client speaks, and with it the shape of its errors.
enum class Dialect : uint8_t { openai, anthropic };

// Answered by the gateway itself: nothing is sent to a provider, held or charged.
constexpr bool is_local(Endpoint endpoint) noexcept {
    return endpoint == Endpoint::models || endpoint == Endpoint::token_counter ||
           endpoint == Endpoint::cost || endpoint == Endpoint::model_info;
}

// By the end of the request's path, so that any prefix works.
Endpoint endpoint_of(std::string_view path) noexcept;

// The dialect of the client that calls `path`: anthropic for …/messages and below it, else openai.
Dialect client_dialect(std::string_view path) noexcept;

// The path below a provider's base URL, with its leading slash; empty for unknown.
std::string_view endpoint_path(Endpoint endpoint) noexcept;

}  // namespace llm
