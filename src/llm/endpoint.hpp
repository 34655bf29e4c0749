#pragma once

#include <cstdint>
#include <string_view>

namespace llm {

// What a client may call, told by the end of the request's path, so that any prefix works.
enum class Endpoint : uint8_t {
    unknown,
    chat_completions,
    completions,
    embeddings,
    models,
    token_counter,
};

// How a client speaks, and with it the shape of its errors.
enum class Dialect : uint8_t { openai, anthropic };

Endpoint endpoint_of(std::string_view path) noexcept;

// The dialect of the client that calls `path`: anthropic for …/messages and below it, else openai.
Dialect client_dialect(std::string_view path) noexcept;

// The path below a provider's base URL, with its leading slash; empty for unknown.
std::string_view endpoint_path(Endpoint endpoint) noexcept;

}  // namespace llm
