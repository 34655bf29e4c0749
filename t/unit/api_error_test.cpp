#include "llm/api_error.hpp"

#include <gtest/gtest.h>
#include <yajl/yajl_tree.h>

#include <memory>

#include "llm/json_writer.hpp"

namespace llm {
namespace {

std::string json(std::string_view s) {
    std::string out;
    append_json_string(out, s);
    return out;
}

// `text` as an independent parser unescapes it; it must be a JSON string.
std::string parsed(const std::string& text) {
    const std::unique_ptr<yajl_val_s, decltype(&yajl_tree_free)> tree(
        yajl_tree_parse(("[" + text + "]").c_str(), nullptr, 0), &yajl_tree_free);
    if (!tree || YAJL_GET_ARRAY(tree.get())->len != 1) {
        return "not a JSON string: " + text;
    }
    return YAJL_GET_STRING(YAJL_GET_ARRAY(tree.get())->values[0]);
}

TEST(JsonWriter, EscapesWhatJsonForbids) {
    EXPECT_EQ(json(""), R"("")");
    EXPECT_EQ(json("a\"b\\c/"), R"("a\"b\\c/")");
    EXPECT_EQ(json("\n\r\t\b\x1f"), R"("\n\r\t\u0008\u001f")");
    EXPECT_EQ(json(std::string_view("\0x", 2)), R"("\u0000x")");
    EXPECT_EQ(json("\x7f"), "\"\x7f\"");
}

TEST(JsonWriter, KeepsUtf8AndReplacesOtherBytes) {
    EXPECT_EQ(json("é中😀"), "\"é中😀\"");
    EXPECT_EQ(json("\xff"), "\"\uFFFD\"");
    EXPECT_EQ(json("a\xc3"), "\"a\uFFFD\"");                    // cut off
    EXPECT_EQ(json("\xc0\x80"), "\"\uFFFD\uFFFD\"");            // overlong
    EXPECT_EQ(json("\xed\xa0\x80"), "\"\uFFFD\uFFFD\uFFFD\"");  // surrogate
    EXPECT_EQ(json("\x80"
                   "é\xf4\x90\x80\x80"),
              "\"\uFFFDé\uFFFD\uFFFD\uFFFD\uFFFD\"");
}

TEST(JsonWriter, WritesWhatParsersReadBack) {
    std::string all;
    for (int c = 1; c < 0x80; ++c) {
        all += static_cast<char>(c);
    }
    all += "\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff";
    EXPECT_EQ(parsed(json(all)), all);
    EXPECT_EQ(utf8_prefix_size(all), all.size());
}

TEST(Utf8PrefixSize, StopsBeforeTheFirstBadByte) {
    EXPECT_EQ(utf8_prefix_size(""), 0U);
    EXPECT_EQ(utf8_prefix_size("ab\xff"), 2U);
    EXPECT_EQ(utf8_prefix_size("é\xe2\x82"), 2U);
    EXPECT_EQ(utf8_prefix_size("\xe0\x9f\xbf"), 0U);  // overlong
    EXPECT_EQ(utf8_prefix_size("\xf0\x8f\xbf\xbf"), 0U);
    EXPECT_EQ(utf8_prefix_size("\xf5\x80\x80\x80"), 0U);
}

TEST(ApiError, RendersOpenAi) {
    EXPECT_EQ(render(invalid_request("No \"model\".", "model", "missing"), Dialect::openai),
              R"({"error":{"message":"No \"model\".","type":"invalid_request_error",)"
              R"("param":"model","code":"missing"}})");
    EXPECT_EQ(render(invalid_request("Bad."), Dialect::openai),
              R"({"error":{"message":"Bad.","type":"invalid_request_error",)"
              R"("param":null,"code":null}})");
}

TEST(ApiError, RendersAnthropicWithTheTypeOfTheStatus) {
    EXPECT_EQ(render(invalid_api_key("No."), Dialect::anthropic),
              R"({"type":"error","error":{"type":"authentication_error","message":"No."}})");
    const auto type = [](int status) {
        const std::string body = render(from_status(status), Dialect::anthropic);
        const size_t begin = body.find("{\"type\":\"", 2) + 9;
        return body.substr(begin, body.find('"', begin) - begin);
    };
    EXPECT_EQ(type(400), "invalid_request_error");
    EXPECT_EQ(type(401), "authentication_error");
    EXPECT_EQ(type(402), "billing_error");
    EXPECT_EQ(type(403), "permission_error");
    EXPECT_EQ(type(404), "not_found_error");
    EXPECT_EQ(type(413), "request_too_large");
    EXPECT_EQ(type(422), "invalid_request_error");
    EXPECT_EQ(type(429), "rate_limit_error");
    EXPECT_EQ(type(500), "api_error");
    EXPECT_EQ(type(502), "api_error");
    EXPECT_EQ(type(504), "timeout_error");
    EXPECT_EQ(type(529), "overloaded_error");
}

TEST(ApiError, EachKindHasItsStatusTypeAndCode) {
    const auto is = [](const ApiError& error, int status, const char* type, const char* code) {
        EXPECT_EQ(error.status, status);
        EXPECT_EQ(error.type, type);
        EXPECT_EQ(error.code, code);
        EXPECT_FALSE(error.message.empty());
    };
    is(invalid_api_key("m"), 401, "invalid_request_error", "invalid_api_key");
    is(model_not_allowed("m"), 403, "invalid_request_error", "model_not_allowed");
    is(model_not_found("m"), 404, "invalid_request_error", "model_not_found");
    is(unknown_route("GET", "/x"), 404, "invalid_request_error", "unknown_url");
    is(rate_limit_exceeded("m", "key"), 429, "rate_limit_exceeded", "rate_limit_exceeded");
    is(budget_exceeded("m", "team"), 429, "budget_exceeded", "budget_exceeded");
    is(budget_exceeded("m", "team", 402), 402, "budget_exceeded", "budget_exceeded");
    is(from_status(413), 413, "invalid_request_error", "request_too_large");
    is(from_status(400), 400, "invalid_request_error", "bad_request");
    is(from_status(500), 500, "server_error", "internal_error");
    is(from_status(502), 502, "upstream_error", "bad_gateway");
    is(from_status(503), 503, "upstream_error", "service_unavailable");
    is(from_status(504), 504, "upstream_error", "gateway_timeout");
    is(from_status(418), 418, "invalid_request_error", "bad_request");
    is(from_status(507), 507, "server_error", "internal_error");
    EXPECT_EQ(budget_exceeded("m", "team").param, "team");
}

TEST(ApiError, NamesWhatTheClientSent) {
    EXPECT_EQ(model_not_found("gpt-9").message, "The model `gpt-9` does not exist.");
    EXPECT_EQ(unknown_route("GET", "/v1/x").message, "Unknown request URL: GET /v1/x.");
}

TEST(ApiError, QuotesAtMostSoMuchOfAClientsText) {
    const size_t frame = model_not_found("").message.size();
    const std::string ellipsis = "…";
    EXPECT_EQ(model_not_found(std::string(kMaxQuoted, 'x')).message.size(), frame + kMaxQuoted);
    EXPECT_EQ(model_not_found(std::string(kMaxQuoted + 1, 'x')).message.size(),
              frame + kMaxQuoted + ellipsis.size());
    // Never in the middle of a character.
    for (size_t shift = 0; shift < 4; ++shift) {
        std::string name(shift, 'x');
        while (name.size() < 400) {
            name += "😀";
        }
        const std::string message = model_not_allowed(name).message;
        EXPECT_EQ(utf8_prefix_size(message), message.size());
        EXPECT_LE(message.size(), 300U);
    }
    // Whatever the bytes, the body is JSON.
    const ApiError error = unknown_route("G\"T", std::string(500, '\x80'));
    EXPECT_EQ(parsed(json(error.message)).find("Unknown request URL: G\"T "), 0U);
    const std::string body = render(error, Dialect::openai);
    EXPECT_EQ(utf8_prefix_size(body), body.size());
}

}  // namespace
}  // namespace llm
