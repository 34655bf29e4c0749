#include "llm/api_error.hpp"

#include <array>
#include <utility>

#include "llm/json_writer.hpp"

namespace llm {
namespace {

constexpr std::string_view kInvalidRequest = "invalid_request_error";

// The text a client sent, cut between characters.
std::string quoted(std::string_view text) {
    if (text.size() <= kMaxQuoted) {
        return std::string(text);
    }
    size_t end = kMaxQuoted;
    while (end > kMaxQuoted - 3 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) {
        --end;
    }
    return std::string(text.substr(0, end)) + "…";
}

struct StatusError {
    int status;
    std::string_view type;
    std::string_view code;
    std::string_view message;
};

constexpr std::array<StatusError, 13> kStatusErrors{{
    {400, kInvalidRequest, "bad_request", "The request is malformed."},
    {401, kInvalidRequest, "unauthorized", "The request is not authorized."},
    {403, kInvalidRequest, "forbidden", "Access to this resource is forbidden."},
    {404, kInvalidRequest, "not_found", "There is nothing at this URL."},
    {405, kInvalidRequest, "method_not_allowed", "This URL does not support the request's method."},
    {408, kInvalidRequest, "request_timeout", "The request did not arrive in time."},
    {413, kInvalidRequest, "request_too_large", "The request is larger than this server accepts."},
    {414, kInvalidRequest, "uri_too_long", "The request's URL is too long."},
    {429, "rate_limit_exceeded", "rate_limit_exceeded", "Too many requests. Please slow down."},
    {500, "server_error", "internal_error", "The gateway failed to process the request."},
    {502, "upstream_error", "bad_gateway",
     "The model's provider failed to answer. Please try again."},
    {503, "upstream_error", "service_unavailable",
     "The service is unavailable at the moment. Please try again later."},
    {504, "upstream_error", "gateway_timeout", "The model's provider did not answer in time."},
}};

const StatusError& describe(int status) {
    for (const StatusError& known : kStatusErrors) {
        if (known.status == status) {
            return known;
        }
    }
    return describe(status >= 400 && status < 500 ? 400 : 500);
}

std::string_view anthropic_type(int status) {
    switch (status) {
        case 401:
            return "authentication_error";
        case 402:
            return "billing_error";
        case 403:
            return "permission_error";
        case 404:
            return "not_found_error";
        case 413:
            return "request_too_large";
        case 429:
            return "rate_limit_error";
        case 504:
            return "timeout_error";
        case 529:
            return "overloaded_error";
        default:
            return status >= 500 ? "api_error" : "invalid_request_error";
    }
}

void append_string_or_null(std::string& out, std::string_view s) {
    if (s.empty()) {
        out += "null";
    } else {
        append_json_string(out, s);
    }
}

}  // namespace

ApiError invalid_request(std::string message, std::string param, std::string code) {
    return {400, std::string(kInvalidRequest), std::move(code), std::move(message),
            std::move(param)};
}

ApiError invalid_api_key(std::string message) {
    return {401, std::string(kInvalidRequest), "invalid_api_key", std::move(message), {}};
}

ApiError model_not_allowed(std::string_view model) {
    return {403, std::string(kInvalidRequest), "model_not_allowed",
            "This key may not use the model `" + quoted(model) + "`.", "model"};
}

ApiError model_not_found(std::string_view model) {
    return {404, std::string(kInvalidRequest), "model_not_found",
            "The model `" + quoted(model) + "` does not exist.", "model"};
}

ApiError unknown_route(std::string_view method, std::string_view path) {
    return {404,
            std::string(kInvalidRequest),
            "unknown_url",
            "Unknown request URL: " + quoted(method) + " " + quoted(path) + ".",
            {}};
}

ApiError rate_limit_exceeded(std::string message, std::string param) {
    return {429, "rate_limit_exceeded", "rate_limit_exceeded", std::move(message),
            std::move(param)};
}

ApiError budget_exceeded(std::string message, std::string param, int status) {
    return {status, "budget_exceeded", "budget_exceeded", std::move(message), std::move(param)};
}

ApiError from_status(int status) {
    const StatusError& known = describe(status);
    return {
        status, std::string(known.type), std::string(known.code), std::string(known.message), {}};
}

std::string render(const ApiError& error, Dialect dialect) {
    std::string out;
    out.reserve(error.message.size() + error.param.size() + 128);
    if (dialect == Dialect::anthropic) {
        out += R"({"type":"error","error":{"type":)";
        append_json_string(out, anthropic_type(error.status));
        out += R"(,"message":)";
        append_json_string(out, error.message);
        out += "}}";
        return out;
    }
    out += R"({"error":{"message":)";
    append_json_string(out, error.message);
    out += R"(,"type":)";
    append_json_string(out, error.type);
    out += R"(,"param":)";
    append_string_or_null(out, error.param);
    out += R"(,"code":)";
    append_string_or_null(out, error.code);
    out += "}}";
    return out;
}

}  // namespace llm
