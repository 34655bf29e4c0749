#include "llm/endpoint.hpp"

#include <array>

namespace llm {
namespace {

struct KnownPath {
    std::string_view path;
    Endpoint endpoint;
};

// A path stands before the ones that it ends with.
constexpr std::array<KnownPath, 8> kPaths{{
    {"/chat/completions", Endpoint::chat_completions},
    {"/completions", Endpoint::completions},
    {"/embeddings", Endpoint::embeddings},
    {"/models", Endpoint::models},
    {"/utils/token_counter", Endpoint::token_counter},
    {"/spend/calculate", Endpoint::cost},
    {"/cost/estimate", Endpoint::cost},
    {"/model/info", Endpoint::model_info},
}};

}  // namespace

Endpoint endpoint_of(std::string_view path) noexcept {
    if (path.ends_with('/')) {
        path.remove_suffix(1);
    }
    for (const KnownPath& known : kPaths) {
        if (path.ends_with(known.path)) {
            return known.endpoint;
        }
    }
    return Endpoint::unknown;
}

Dialect client_dialect(std::string_view path) noexcept {
    constexpr std::string_view kMessages = "/messages";
    const bool anthropic =
        path.ends_with(kMessages) || path.find("/messages/") != std::string_view::npos;
    return anthropic ? Dialect::anthropic : Dialect::openai;
}

std::string_view endpoint_path(Endpoint endpoint) noexcept {
    for (const KnownPath& known : kPaths) {
        if (known.endpoint == endpoint) {
            return known.path;
        }
    }
    return {};
}

}  // namespace llm
