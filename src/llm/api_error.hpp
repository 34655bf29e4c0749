#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "llm/endpoint.hpp"

namespace llm {

// An error as the client sees it. `message` and `param` are written for the client: no secret, no
// internal address, no other tenant's name.
struct ApiError {
    int status = 500;  // HTTP status
    std::string type;  // OpenAI's error.type; Anthropic's is derived from the status
    std::string code;  // OpenAI's error.code; empty renders as null
    std::string message;
    std::string param;  // OpenAI's error.param; empty renders as null
};

// Constructors for every error of the gateway (design: "What the client sees"). Of a model, method
// or path, which come from the client, at most kMaxQuoted bytes are quoted.
ApiError invalid_request(std::string message, std::string param = {},
                         std::string code = {});                         // 400
ApiError invalid_api_key(std::string message);                           // 401
ApiError model_not_allowed(std::string_view model);                      // 403
ApiError model_not_found(std::string_view model);                        // 404
ApiError unknown_route(std::string_view method, std::string_view path);  // 404
ApiError rate_limit_exceeded(std::string message, std::string param);    // 429
ApiError budget_exceeded(std::string message, std::string param, int status = 429);
// What nginx itself answers with `status` (413, 400, 502, 503, 504 …), in words for a client. A
// status that is not in its list is described by its class.
ApiError from_status(int status);

inline constexpr size_t kMaxQuoted = 200;

// The complete JSON body:
//   openai     {"error":{"message":…,"type":…,"param":…,"code":…}}
//   anthropic  {"type":"error","error":{"type":…,"message":…}}
// Whatever bytes the texts hold, the result is valid JSON.
std::string render(const ApiError& error, Dialect dialect);

}  // namespace llm
