// What a scan reads of a request, and what it refuses. (What is prompt: prompt_text_test.cpp.)

#include "request_scan_support.hpp"

namespace {

using namespace request_scan_support;

TEST(RequestScan, ReadsAChatRequest) {
    const std::string body = R"({
  "model": "gpt-4o-mini", "stream": true , "max_tokens": 100, "n": 3,
  "user": "someone", "temperature": 0.5,
  "stream_options": { "include_usage" : true },
  "metadata": {"a": {"tags": ["no"]}, "tags": ["x", "\u00e9"]},
  "messages": [
    {"role": "system", "content": "Be \"brief\".\n"},
    {"role": "user", "content": [{"type": "text", "text": "héllo 😀"}]}
  ],
  "tools": [ {"type": "function", "function": {"name": "f", "max_tokens": "x"}} ],
  "tool_choice": "auto"
})";
    const ScannedRequest r = scanned(body);
    EXPECT_EQ(r.model, "gpt-4o-mini");
    EXPECT_EQ(at(body, r.model_value), "\"gpt-4o-mini\"");
    EXPECT_TRUE(r.stream);
    EXPECT_EQ(r.max_tokens, 100);
    EXPECT_EQ(at(body, r.max_tokens_field->value), "100");
    EXPECT_FALSE(r.max_completion_tokens_field);
    EXPECT_EQ(r.choices, 3);
    EXPECT_EQ(r.user, "someone");
    EXPECT_EQ(r.tags, (Strings{"x", "é"}));
    EXPECT_EQ(at(body, r.stream_options->key), "\"stream_options\"");
    EXPECT_EQ(at(body, r.stream_options->value), "{ \"include_usage\" : true }");
    EXPECT_EQ(at(body, *r.include_usage_value), "true");
    EXPECT_TRUE(r.include_usage);
    EXPECT_EQ(texts(body, r.prompt.text),
              (Strings{"system", R"(Be \"brief\".\n)", "user", "héllo 😀"}));
    EXPECT_EQ(structures(body, r),
              (Strings{R"({"type": "function", "function": {"name": "f", "max_tokens": "x"}})",
                       "\"auto\""}));
    EXPECT_EQ(r.prompt.messages, 2);
    EXPECT_TRUE(r.prompt.images.empty());
    EXPECT_EQ(r.prompt.inputs, 1);
    EXPECT_EQ(r.prompt.token_ids, 0);
}

TEST(RequestScan, ComparesKeysUnescaped) {
    const std::string body =
        R"({"mod\u0065l":"\u0067pt","messag\u0065s":[{"role":"user","content":"a\tb"}],)"
        R"("max\u005ftokens":7,"stream_options":{"includ\u0065_usage":false}})";
    const ScannedRequest r = scanned(body);
    EXPECT_EQ(r.model, "gpt");
    EXPECT_EQ(at(body, r.model_value), R"("\u0067pt")");
    EXPECT_EQ(r.max_tokens, 7);
    EXPECT_EQ(at(body, *r.include_usage_value), "false");
    EXPECT_FALSE(r.include_usage);
    EXPECT_EQ(r.prompt.messages, 1);
    EXPECT_EQ(texts(body, r.prompt.text), (Strings{"user", R"(a\tb)"}));
}

TEST(RequestScan, InterpretsTopLevelKeysOnly) {
    const std::string body =
        R"({"x":{"model":"a","max_tokens":"1","stream":5,"messages":3},)"
        R"("tools":[{"model":"b","n":99999}],"y":[{"model":"c"}],)"
        R"("messages":[{"model":"d","role":"user","n":0,"stream_options":1}],"model":"real"})";
    const ScannedRequest r = scanned(body);
    EXPECT_EQ(r.model, "real");
    EXPECT_FALSE(r.max_tokens);
    EXPECT_FALSE(r.stream);
    EXPECT_EQ(r.choices, 1);
    EXPECT_EQ(r.prompt.messages, 1);
    EXPECT_EQ(refused(R"({"x":{"model":"a"},"messages":[{}]})").param, "model");
    // A key that only begins or ends like one, or has a NUL behind it, is another one.
    EXPECT_EQ(refused(R"({"model\u0000":"a","modelx":"a","Model":"a","messages":[{}]})").param,
              "model");
}

TEST(RequestScan, RefusesAKeyThatStandsTwice) {
    for (const char* again :
         {R"("model":"x")", R"("mod\u0065l":"m")", R"("messages":[])", R"("messages":null)"}) {
        EXPECT_EQ(refused(chat(again)).code, "duplicate_parameter") << again;
    }
    for (const char* name : {"stream",
                             "stream_options",
                             "max_tokens",
                             "max_completion_tokens",
                             "n",
                             "best_of",
                             "user",
                             "metadata",
                             "prompt",
                             "input",
                             "suffix",
                             "instructions",
                             "prediction",
                             "tools",
                             "tool_choice",
                             "functions",
                             "function_call",
                             "response_format",
                             "system",
                             "text",
                             "output_config"}) {
        const std::string key = name;
        const ApiError error = refused(chat("\"" + key + "\":null,\"" + key + "\":null"));
        EXPECT_EQ(error.status, 400);
        EXPECT_EQ(error.code, "duplicate_parameter") << key;
        EXPECT_EQ(error.param, key);
    }
    EXPECT_EQ(
        refused(chat(R"("stream_options":{"include_usage":null,"include_usage":true})")).param,
        "stream_options.include_usage");
    scanned(chat(R"("temperature":1,"temperature":2)"));
    scanned(chat(R"("stream_options":{"x":{"include_usage":1,"include_usage":2}})"));
}

TEST(RequestScan, RefusesWhatIsNoJsonObject) {
    for (const std::string_view body : {"",
                                        " ",
                                        "null",
                                        "1",
                                        "12",
                                        "\"model\"",
                                        "[]",
                                        R"([{"model":"m"}])",
                                        "{",
                                        "{]",
                                        R"({"model")",
                                        R"({"model":"m",})",
                                        R"({"model":"m"} x)",
                                        R"({"model":"m"}{})",
                                        R"({"model":"m"} "unterminated)",
                                        R"({"model":"m"} 12)",
                                        R"({'model':'m'})",
                                        R"({"model":"m","x":01})",
                                        R"({"model":"m","x":+1})",
                                        R"({"model":"m","x":NaN})",
                                        R"({"model":"m" /* c */})",
                                        "\xef\xbb\xbf{\"model\":\"m\"}",
                                        "{\"model\":\"a\nb\"}",
                                        "{\"model\":\"\xff\"}",
                                        "{\"model\":\"\xc3\"}",
                                        R"({"model":"\x"})",
                                        R"({"model":"\u12"})",
                                        "{\"model\":\"m\"}\v"}) {
        const ApiError error = refused(body, Endpoint::completions);
        EXPECT_EQ(error.status, 400) << body;
        EXPECT_EQ(error.type, "invalid_request_error");
        EXPECT_NE(error.message.find("JSON"), std::string::npos) << error.message;
    }
    EXPECT_EQ(refused(std::string_view("{\"model\":\"m\"}\0", 14), kChat).status, 400);
    EXPECT_EQ(scanned(" \r\n\t{ \"model\" : \"m\" } \r\n\t", Endpoint::completions).model, "m");
    EXPECT_EQ(refused(R"({"model":"m",})").message,
              "The request body is not valid JSON: expected a key in double quotes at byte 13.");
    // Nothing of the body is repeated.
    EXPECT_EQ(refused(R"({"model":"secret" secret})").message.find("secret"), std::string::npos);
}

TEST(RequestScan, RefusesEveryPrefixOfABody) {
    const std::string body =
        chat(R"("max_tokens":12,"tools":[{"a":"\u00e9\""}],"stream":true,"x":-1.5e3)");
    for (size_t size = 0; size < body.size(); ++size) {
        // A copy of just this size, so that a sanitizer sees reads beyond it.
        const std::vector<char> prefix(body.begin(), body.begin() + static_cast<long>(size));
        refused({prefix.data(), prefix.size()});
    }
    scanned(body);
}

TEST(RequestScan, NeedsWhatTheEndpointNeeds) {
    const auto missing = [](std::string_view body, Endpoint endpoint, const char* param) {
        const ApiError error = refused(body, endpoint);
        EXPECT_EQ(error.code, "missing_required_parameter") << body;
        EXPECT_EQ(error.param, param) << body;
    };
    missing("{}", kChat, "model");
    missing(R"({"model":""})", kChat, "model");
    missing(R"({"model":null,"messages":[{}]})", kChat, "model");
    missing(R"({"model":"m"})", kChat, "messages");
    missing(R"({"model":"m","messages":[]})", kChat, "messages");
    missing(R"({"model":"m","messages":null})", kChat, "messages");
    missing(R"({"model":"m"})", Endpoint::embeddings, "input");
    missing(R"({"model":"m","input":null})", Endpoint::embeddings, "input");
    scanned(R"({"model":"m","input":""})", Endpoint::embeddings);
    scanned(R"({"model":"m"})", Endpoint::completions);
    missing(R"({"model":"m","system":"s"})", kChat, "messages");
    missing(R"({"model":"m","system":"s"})", Endpoint::messages, "messages");
    missing(R"({"model":"m","instructions":"s"})", Endpoint::responses, "input");
    missing(R"({"model":"m","system":"s"})", Endpoint::token_counter, "messages");
    missing(R"({"model":"m","messages":[],"prompt":null})", Endpoint::token_counter, "messages");
    scanned(R"({"model":"m","messages":[{}]})", Endpoint::token_counter);
    scanned(R"({"model":"m","prompt":"p"})", Endpoint::token_counter);
    scanned(R"({"model":"m","input":["i"]})", Endpoint::token_counter);
    EXPECT_EQ(refused("{}", kChat).message, "Missing required parameter: 'model'.");
}

TEST(RequestScan, RefusesWrongTypesByName) {
    const auto wrong = [](const std::string& member, const std::string& message) {
        const ApiError error = refused(R"({"model":"m",)" + member + "}", Endpoint::completions);
        EXPECT_EQ(error.message, message);
        EXPECT_EQ(error.code, "invalid_type");
        EXPECT_EQ(error.status, 400);
    };
    wrong(R"("max_tokens":"100")",
          "Invalid type for 'max_tokens': expected an integer, but got a string instead.");
    wrong(R"("max_tokens":100.0)",
          "Invalid type for 'max_tokens': expected an integer, but got a decimal number instead.");
    wrong(R"("max_completion_tokens":1e2)",
          "Invalid type for 'max_completion_tokens': expected an integer, but got a decimal number "
          "instead.");
    wrong(R"("n":true)", "Invalid type for 'n': expected an integer, but got a boolean instead.");
    wrong(R"("best_of":[1])",
          "Invalid type for 'best_of': expected an integer, but got an array instead.");
    wrong(R"("stream":"true")",
          "Invalid type for 'stream': expected a boolean, but got a string instead.");
    wrong(R"("stream":1)",
          "Invalid type for 'stream': expected a boolean, but got an integer instead.");
    wrong(R"("stream_options":true)",
          "Invalid type for 'stream_options': expected an object, but got a boolean instead.");
    wrong(R"("stream_options":{"include_usage":"yes"})",
          "Invalid type for 'stream_options.include_usage': expected a boolean, but got a string "
          "instead.");
    wrong(R"("stream_options":{"include_usage":{}})",
          "Invalid type for 'stream_options.include_usage': expected a boolean, but got an object "
          "instead.");
    wrong(R"("user":7)", "Invalid type for 'user': expected a string, but got an integer instead.");
    wrong(R"("metadata":"x")",
          "Invalid type for 'metadata': expected an object, but got a string instead.");
    wrong(R"("metadata":{"tags":["a",{}]})",
          "Invalid type for 'metadata.tags': expected a string, but got an object instead.");
    wrong(R"("messages":{"role":"user"})",
          "Invalid type for 'messages': expected an array, but got an object instead.");
    wrong(R"("prompt":{"a":1})",
          "Invalid type for 'prompt': expected a string or an array, but got an object instead.");
    wrong(R"("input":5)",
          "Invalid type for 'input': expected a string or an array, but got an integer instead.");
    EXPECT_EQ(refused(R"({"model":["m"]})").param, "model");
}

TEST(RequestScan, RefusesNumbersOutOfRange) {
    const auto code = [](const std::string& member, Endpoint endpoint) {
        return refused(R"({"model":"m","messages":[{}],)" + member + "}", endpoint).code;
    };
    const std::string low = "integer_below_min_value";
    const std::string high = "integer_above_max_value";
    EXPECT_EQ(code(R"("max_tokens":0)", kChat), low);
    EXPECT_EQ(code(R"("max_tokens":-1)", Endpoint::completions), low);
    EXPECT_EQ(code(R"("max_tokens":1000000001)", kChat), high);
    EXPECT_EQ(code(R"("max_completion_tokens":9223372036854775808)", kChat), high);
    EXPECT_EQ(code(R"("max_tokens":-99999999999999999999999)", kChat), low);
    EXPECT_EQ(code(R"("n":0)", kChat), low);
    EXPECT_EQ(code(R"("n":129)", kChat), high);
    EXPECT_EQ(code(R"("best_of":18446744073709551617)", kChat), high);
    EXPECT_EQ(scanned(chat(R"("max_tokens":1000000000)")).max_tokens, kMaxTokensField);
    EXPECT_EQ(scanned(chat(R"("n":128)")).choices, kMaxChoices);
    EXPECT_EQ(scanned(R"({"model":"m","max_tokens":0})", Endpoint::completions).max_tokens, 0);
    EXPECT_EQ(refused(chat(R"("n":0)")).message,
              "Invalid 'n': integer below minimum value. Expected a value >= 1.");
}

TEST(RequestScan, TakesNullForAbsent) {
    const std::string body =
        chat(R"("max_tokens":null,"n":null,"best_of":null,"stream":null,"stream_options":null,)"
             R"("user":null,"metadata":null,"tools":null,"prompt":null,"response_format":null)");
    const ScannedRequest r = scanned(body);
    EXPECT_FALSE(r.max_tokens);
    EXPECT_EQ(at(body, r.max_tokens_field->value), "null");
    EXPECT_FALSE(r.max_tokens_field->tokens);
    EXPECT_EQ(r.choices, 1);
    EXPECT_FALSE(r.stream);
    EXPECT_EQ(at(body, r.stream_options->value), "null");
    EXPECT_FALSE(r.include_usage_value);
    EXPECT_EQ(r.user, "");
    EXPECT_TRUE(r.tags.empty());
    EXPECT_TRUE(r.prompt.structures.empty());
    EXPECT_EQ(r.prompt.text.size(), 2U);
}

TEST(RequestScan, TakesTheLargerOfTwoBounds) {
    const auto bound = [](const char* members) { return scanned(chat(members)).max_tokens; };
    EXPECT_EQ(bound(R"("max_tokens":5,"max_completion_tokens":9)"), 9);
    EXPECT_EQ(bound(R"("max_tokens":9,"max_completion_tokens":5)"), 9);
    EXPECT_EQ(bound(R"("max_tokens":null,"max_completion_tokens":5)"), 5);
    EXPECT_EQ(bound(R"("max_tokens":4,"max_completion_tokens":null)"), 4);
    EXPECT_EQ(bound(R"("max_tokens":null,"max_completion_tokens":null)"), std::nullopt);
}

TEST(RequestScan, BoundsTheDepth) {
    const auto nested = [](int depth) {
        const auto arrays = static_cast<size_t>(depth - 1);
        return R"({"model":"m","x":)" + std::string(arrays, '[') + std::string(arrays, ']') + "}";
    };
    scanned(nested(kMaxDepth), Endpoint::completions);
    const ApiError error = refused(nested(kMaxDepth + 1), Endpoint::completions);
    EXPECT_EQ(error.message, "The request body is nested deeper than 128 levels.");
    refused(R"({"model":"m","x":)" + std::string(1'000'000, '['), Endpoint::completions);
}

TEST(RequestScan, ShortFieldsAreBoundedUnicode) {
    EXPECT_EQ(scanned(chat("\"user\":\"" + std::string(kMaxShortField, 'x') + "\"")).user.size(),
              kMaxShortField);
    EXPECT_EQ(refused(chat("\"user\":\"" + std::string(kMaxShortField + 1, 'x') + "\"")).code,
              "string_above_max_length");
    EXPECT_EQ(refused(chat(R"("user":"a\u0000b")")).code, "invalid_value");
    EXPECT_EQ(refused(chat(R"("user":"\udc00")")).code, "invalid_value");  // half a pair
    EXPECT_EQ(refused(chat(R"("user":"\ud800")")).code, "invalid_value");
    EXPECT_EQ(refused(chat(R"("metadata":{"tags":["\udc00"]})")).param, "metadata.tags");
    EXPECT_EQ(refused(chat("\"user\":\"" + std::string(100'000, 'x') + "\\n\"")).code,
              "string_above_max_length");
    EXPECT_EQ(scanned(chat(R"("user":"\ud83d\ude00")")).user, "😀");

    std::string tags = "\"t\"";
    for (size_t i = 1; i < kMaxTags; ++i) {
        tags += ",\"t\"";
    }
    EXPECT_EQ(scanned(chat("\"metadata\":{\"tags\":[" + tags + "]}")).tags.size(), kMaxTags);
    EXPECT_EQ(refused(chat("\"metadata\":{\"tags\":[" + tags + ",\"t\"]}")).param, "metadata.tags");
    EXPECT_TRUE(scanned(chat(R"("metadata":{"tags":"a","x":["b"]})")).tags.empty());
    EXPECT_TRUE(scanned(chat(R"("metadata":{"tags":{"tags":["b"]}})")).tags.empty());
}

// What may stand behind half a surrogate pair, at the end of the body too.
TEST(RequestScan, SurvivesHalfSurrogatePairs) {
    for (const char* text : {R"(\ud800)", R"(\ud800x)", R"(\ud800\n)", R"(\ud800\\)", R"(\ud800\")",
                             R"(\ud800\ud800)", R"(\udbff\u0041)", R"(\udc00\ud800)"}) {
        for (const std::string& body :
             {"{\"model\":\"m\",\"prompt\":\"" + std::string(text) + "\"}",
              "{\"model\":\"m\",\"" + std::string(text) + "\":1}"}) {
            const std::vector<char> exact(body.begin(), body.end());
            const ScannedRequest r = scanned({exact.data(), exact.size()}, Endpoint::completions);
            EXPECT_EQ(r.model, "m");
        }
        const std::string open = "{\"model\":\"m\",\"prompt\":\"" + std::string(text);
        const std::vector<char> exact(open.begin(), open.end());
        refused({exact.data(), exact.size()}, Endpoint::completions);
    }
}

TEST(RequestScan, CountsPromptsOfACompletionsCall) {
    const auto prompts = [](const std::string& prompt) {
        return scanned(R"({"model":"m","n":2,"best_of":3,"prompt":)" + prompt + "}",
                       Endpoint::completions);
    };
    EXPECT_EQ(prompts("\"a\"").prompt.inputs, 1);
    EXPECT_EQ(prompts("[\"a\",\"b\",\"c\"]").prompt.inputs, 3);
    EXPECT_EQ(prompts("[\"a\",\"b\",\"c\"]").choices, 9);
    EXPECT_EQ(prompts("[1,2,3]").prompt.inputs, 1);
    EXPECT_EQ(prompts("[1,2,3]").prompt.token_ids, 3);
    EXPECT_EQ(prompts("[[1,2],[3]]").prompt.inputs, 2);
    EXPECT_EQ(prompts("[[1,2],[3]]").prompt.token_ids, 3);
    EXPECT_EQ(prompts("[[1,2],[3]]").choices, 6);
    EXPECT_EQ(prompts("[\"a\",4]").prompt.inputs, 2);
    EXPECT_EQ(prompts("[]").prompt.inputs, 1);
    EXPECT_EQ(prompts("null").prompt.inputs, 1);
    EXPECT_EQ(prompts("null").choices, 3);
    // Another field of the kind multiplies nothing.
    EXPECT_EQ(
        scanned(R"({"model":"m","prompt":"a","input":["a","b"]})", Endpoint::completions).choices,
        1);
}

TEST(RequestScan, CountsInputsOfAnEmbeddingsCall) {
    const std::string body = R"({"input":["one","two",""],"model":"e","n":2})";
    const ScannedRequest r = scanned(body, Endpoint::embeddings);
    EXPECT_EQ(r.prompt.inputs, 3);
    EXPECT_EQ(r.choices, 2);
    EXPECT_EQ(texts(body, r.prompt.text), (Strings{"one", "two"}));
    EXPECT_EQ(
        scanned(R"({"input":[[1,2,3],[4]],"model":"e"})", Endpoint::embeddings).prompt.token_ids,
        4);
    EXPECT_EQ(scanned(chat(R"("input":["a","b"])")).prompt.inputs, 1);
}

}  // namespace
