#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "llm/request_scan.hpp"

namespace request_scan_support {

using namespace llm;

inline constexpr auto kChat = Endpoint::chat_completions;

inline ScannedRequest scanned(std::string_view body, Endpoint endpoint = kChat) {
    ScanResult result = scan_request(body, endpoint);
    if (auto* error = std::get_if<ApiError>(&result)) {
        ADD_FAILURE() << error->message << "\n" << body;
        return {};
    }
    return std::get<ScannedRequest>(std::move(result));
}

inline ApiError refused(std::string_view body, Endpoint endpoint = kChat) {
    ScanResult result = scan_request(body, endpoint);
    if (!std::holds_alternative<ApiError>(result)) {
        ADD_FAILURE() << "accepted: " << body;
        return {};
    }
    return std::get<ApiError>(std::move(result));
}

inline std::string_view at(std::string_view body, Span span) {
    return body.substr(span.begin, span.size());
}

using Strings = std::vector<std::string>;

inline Strings texts(std::string_view body, const ChunkedList<Span>& spans) {
    Strings out;
    for (const Span span : spans) {
        out.emplace_back(at(body, span));
    }
    return out;
}

inline Strings structures(std::string_view body, const ScannedRequest& r) {
    Strings out;
    for (const Structure& structure : r.prompt.structures) {
        out.emplace_back(at(body, structure.value));
    }
    return out;
}

// A chat body with `members` after what every one needs.
inline std::string chat(const std::string& members) {
    return R"({"model":"m","messages":[{"role":"user","content":"hi"}])" +
           (members.empty() ? "" : "," + members) + "}";
}

}  // namespace request_scan_support
