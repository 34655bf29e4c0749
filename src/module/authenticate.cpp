#include "module/authenticate.hpp"

#include "module/headers.hpp"

namespace module {

namespace {

constexpr std::string_view kBearer = "bearer ";

std::string_view trim(std::string_view s) noexcept {
    const size_t first = s.find_first_not_of(" \t");
    if (first == std::string_view::npos) {
        return {};
    }
    return s.substr(first, s.find_last_not_of(" \t") - first + 1);
}

std::string_view bearer_token(ngx_http_request_t* r) noexcept {
    if (r->headers_in.authorization == nullptr) {
        return {};
    }
    const ngx_str_t& value = r->headers_in.authorization->value;
    if (value.len < kBearer.size() ||
        ngx_strncasecmp(value.data, reinterpret_cast<u_char*>(const_cast<char*>(kBearer.data())),
                        kBearer.size()) != 0) {
        return {};
    }
    return trim(io::view(value).substr(kBearer.size()));
}

std::string_view presented_key(ngx_http_request_t* r) noexcept {
    if (const std::string_view key = bearer_token(r); !key.empty()) {
        return key;
    }
    if (const std::string_view key = trim(request_header(r, "x-api-key")); !key.empty()) {
        return key;
    }
    return trim(request_header(r, "api-key"));
}

}  // namespace

std::optional<llm::ApiError> authenticate(Call& call) {
    const std::string_view secret = presented_key(call.r);
    if (secret.empty()) {
        return llm::invalid_api_key(
            "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY'.");
    }
    const Caller* caller = call.gateway.find_caller(keys::hash_key(secret));
    if (caller == nullptr) {
        return llm::invalid_api_key("Incorrect API key provided.");
    }
    if (caller->key->expired(io::wall_ms())) {
        return llm::invalid_api_key("This API key has expired.");
    }
    if (caller->blocked()) {
        return llm::invalid_api_key("This API key is blocked.");
    }
    call.caller = caller;
    return std::nullopt;
}

}  // namespace module
