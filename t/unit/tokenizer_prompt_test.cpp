// Prompts by the rules of their models: t/fixtures/chat_cases.jsonl and published examples.

#include <gtest/gtest.h>

#include <fstream>
#include <iostream>
#include <optional>

#include "llm/tokenizer/prompt_count.hpp"
#include "llm/tokenizer/tool_tokens.hpp"
#include "tokenizer_support.hpp"

namespace {

using namespace tokenizer_support;

class Counting {
  public:
    int64_t prompt(const std::string& model, const std::string& body, bool* estimate = nullptr,
                   uint64_t work = 50'000,
                   llm::Endpoint endpoint = llm::Endpoint::chat_completions) {
        const llm::ScanResult scanned = llm::scan_request(body, endpoint);
        const auto* request = std::get_if<llm::ScannedRequest>(&scanned);
        if (request == nullptr) {
            ADD_FAILURE() << body;
            return -1;
        }
        const ModelTokens rules = model_tokens(model);
        PromptCount count(encoding(rules.text.encoding), rules, body, request->prompt);
        slices = 1;
        while (!count.advance(work)) {
            ++slices;
        }
        EXPECT_GE(count.most(), count.tokens()) << model << body;
        const int64_t bound = llm::prompt_token_bound(request->prompt);
        const bool may_grow =  // by the model's tokenizer, or what shows calls to the model
            rules.text.encoding == EncodingName::qwen2 || request->prompt.has_tool_calls;
        if (!may_grow) {
            EXPECT_LE(count.most(), std::max(count.tokens(), bound));
        }
        if (!count.is_estimate()) {
            EXPECT_EQ(count.most(), count.tokens());
        }
        if (estimate != nullptr) {
            *estimate = count.is_estimate();
        }
        EXPECT_LE(count.tokens(), llm::prompt_token_bound(request->prompt)) << model << body;
        return count.tokens();
    }

    Encoding& encoding(EncodingName name) {
        std::optional<Encoding>& encoding = encodings_[static_cast<size_t>(name)];
        if (!encoding) {
            encoding.emplace(vocabulary(std::string(name_of(name))), pattern_of(name_of(name)), 1);
        }
        return *encoding;
    }

    int slices = 0;

  private:
    std::optional<Encoding> encodings_[kEncodingCount];
};

std::string between(const std::string& line, const std::string& before, const std::string& after) {
    const size_t begin = line.find(before) + before.size();
    return line.substr(begin, line.rfind(after) - begin);
}

TEST(TokenizerPrompt, CookbookCases) {
    Counting counting;
    std::ifstream file("t/fixtures/chat_cases.jsonl");
    int exact = 0;
    int others = 0;
    int different = 0;
    std::string differences;
    for (std::string line; std::getline(file, line);) {
        const std::string model = between(line, "\"model\":\"", "\",\"request\":");
        const std::string request = between(line, "\"request\":{", "},\"litellm\":");
        const std::string cookbook = line.substr(line.rfind(':') + 1);
        bool estimate = false;
        const int64_t tokens =
            counting.prompt(model, "{\"model\":\"" + model + "\"," + request + "}", &estimate);
        if (cookbook.starts_with("null")) {
            ++others;
            const int64_t litellm = std::stoll(line.substr(line.rfind("\"litellm\":") + 10));
            if (tokens != litellm) {
                ++different;
                differences += ' ' + between(line, "{\"id\":\"chat-", "\",\"model\":") + ':' +
                               std::to_string(tokens - litellm);
            }
            EXPECT_TRUE(estimate || line.find("\"tool_calls\"") != std::string::npos ||
                        line.find("\"type\":\"text\"") != std::string::npos)
                << line;
            continue;
        }
        ++exact;
        int64_t expected = std::stoll(cookbook);
        if (request.find("\"tool_choice\"") != std::string::npos) {
            // Of which the cookbook knows nothing. These cases name their function, last of all.
            const std::string name = request.substr(request.rfind("\"name\":\"") + 8);
            expected += 7 + count(counting.encoding(model_tokens(model).text.encoding),
                                  name.substr(0, name.find('"')));
        }
        EXPECT_EQ(tokens, expected) << line;
    }
    EXPECT_EQ(exact, 56);
    EXPECT_EQ(others, 87);
    std::cout << "ours less LiteLLM's, " << different << " of " << others
              << " cases differ:" << differences << '\n';
}

// Whatever the family, no prompt counts more than its bound.
TEST(TokenizerPrompt, BoundsOnlyWhatIsEstimatedByBytes) {
    Encoding encoding(vocabulary("o200k_base"), Pattern::o200k, 1);
    const std::string text(1000, 'a');
    const std::string tool = R"({"type":"function","function":{"name":"f","parameters":{}}})";
    const std::string body = R"({"model":"x","messages":[{"role":"user","content":")" + text +
                             R"("}],"tools":[)" + tool + "]}";
    const auto scan = llm::scan_request(body, llm::Endpoint::chat_completions);
    const llm::PromptContent& prompt = std::get<llm::ScannedRequest>(scan).prompt;
    const auto most = [&](const char* model) {
        PromptCount count(encoding, model_tokens(model), body, prompt);
        EXPECT_TRUE(count.advance(1 << 30));
        EXPECT_TRUE(count.is_estimate());
        return count.most();
    };
    EXPECT_EQ(most("unheard"), llm::prompt_token_bound(prompt));
    const int64_t texts = count(encoding, text) + count(encoding, "user");
    EXPECT_EQ(most("gpt-4o"), llm::prompt_token_bound(prompt) - 1004 + texts);
}

// OpenAI's forum, topic 1375117: three results of 1000 times this came to 39235 tokens.
TEST(TokenizerPrompt, BoundsResultsThatAreShownInEscapes) {
    Encoding encoding(vocabulary("o200k_base"), Pattern::o200k, 1);
    std::string result;
    for (int i = 0; i < 1000; ++i) {
        result += "테스트 ";
    }
    std::string body = R"({"model":"x","messages":[{"role":"assistant","tool_calls":[{},{},{}]})";
    for (const char* id : {"a", "b", "c"}) {
        body += R"(,{"role":"tool","tool_call_id":")" + std::string(id) + R"(","content":")" +
                result + "\"}";
    }
    body += "]}";
    const auto scan = llm::scan_request(body, llm::Endpoint::chat_completions);
    PromptCount count(encoding, model_tokens("gpt-4.1"), body,
                      std::get<llm::ScannedRequest>(scan).prompt);
    EXPECT_TRUE(count.advance(1 << 30));
    EXPECT_GE(count.most(), 39'235);
}

TEST(TokenizerPrompt, StaysBelowTheBound) {
    Counting counting;
    std::ifstream file("t/fixtures/chat_cases.jsonl");
    for (std::string line; std::getline(file, line);) {
        const std::string request = between(line, "\"request\":{", "},\"litellm\":");
        for (const char* model : {"gpt-4", "gpt-5", "claude-sonnet-4-5", "claude-opus-4-7",
                                  "gemini-3-pro", "llama-3", "qwen3", "unheard"}) {
            EXPECT_GT(counting.prompt(model, "{\"model\":\"x\"," + request + "}", nullptr, 1), 0);
        }
    }
    std::string dense;  // a token for each byte
    for (int i = 0; i < 1000; ++i) {
        dense += i % 2 != 0 ? "7" : "z";
    }
    const std::string body = R"({"model":"x","messages":[{"content":")" + dense + "\"}]}";
    EXPECT_LE(counting.prompt("claude-opus-4-7", body), 1000 + 2 + 6);
}

// The cookbook's own example and what the API said.
TEST(TokenizerPrompt, CookbookExample) {
    const std::string messages = R"("messages":[
        {"role":"system","content":"You are a helpful, pattern-following assistant that translates corporate jargon into plain English."},
        {"role":"system","name":"example_user","content":"New synergies will help drive top-line growth."},
        {"role":"system","name":"example_assistant","content":"Things working well together will increase revenue."},
        {"role":"system","name":"example_user","content":"Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."},
        {"role":"system","name":"example_assistant","content":"Let's talk later when we're less busy about how to do better."},
        {"role":"user","content":"This late pivot means we don't have time to boil the ocean for the client deliverable."}])";
    Counting counting;
    bool estimate = true;
    EXPECT_EQ(counting.prompt("gpt-4-0613", R"({"model":"x",)" + messages + "}", &estimate), 129);
    EXPECT_FALSE(estimate);
    EXPECT_EQ(counting.prompt("gpt-4o", R"({"model":"x",)" + messages + "}", &estimate), 124);
    EXPECT_FALSE(estimate);
}

TEST(TokenizerPrompt, CookbookTools) {
    const std::string tools = R"([{"type":"function","function":{"name":"get_current_weather",
        "description":"Get the current weather in a given location","parameters":{"type":"object",
        "properties":{"location":{"type":"string","description":"The city and state, e.g. San Francisco, CA"},
        "unit":{"type":"string","description":"The unit of temperature to return","enum":["celsius","fahrenheit"]}},
        "required":["location"]}}}])";
    const std::string body =
        R"({"model":"x","messages":[{"role":"system","content":"You are a helpful assistant that can answer to questions about the weather."},
        {"role":"user","content":"What's the weather like in San Francisco?"}],"tools":)" +
        tools + "}";
    Counting counting;
    bool estimate = false;
    EXPECT_EQ(counting.prompt("gpt-4", body, &estimate), 105);
    EXPECT_TRUE(estimate);
    EXPECT_EQ(counting.prompt("gpt-4o", body), 101);
}

TEST(TokenizerPrompt, WhatIsNoFunctionIsText) {
    Encoding encoding(vocabulary("o200k_base"), Pattern::o200k, 1);
    for (const char* json : {"{}", "[]", "1", R"({"type":"web_search"})", "\"auto\"",
                             R"({"function":{"name":1}})", R"([{"name":"f"}])"}) {
        EXPECT_FALSE(tool_tokens(json, 7, encoding)) << json;
    }
    EXPECT_FALSE(tool_tokens(R"({"name":"f"})" + std::string(kMaxToolBytes, ' '), 7, encoding));
    Counting counting;
    const std::string hello = R"({"model":"x","messages":[{"role":"user","content":"hello"}],)";
    const std::string search = R"({"type":"web_search"})";
    EXPECT_EQ(counting.prompt("gpt-4o", hello + "\"tools\":[" + search + "]}"),
              8 + 12 + count(encoding, search));
    EXPECT_EQ(counting.prompt("gpt-4o", hello + R"("tools":[{"name":"f"},{"name":"f"}]})"),
              8 + 12 + 2 * (7 + count(encoding, "f:")));
    EXPECT_EQ(counting.prompt("gpt-4o", hello + R"("tools":[]})"), 8);
}

TEST(TokenizerPrompt, ToolChoice) {
    Encoding encoding(vocabulary("o200k_base"), Pattern::o200k, 1);
    EXPECT_EQ(tool_choice_tokens("\"none\"", encoding), 1);
    EXPECT_EQ(tool_choice_tokens("\"auto\"", encoding), 0);
    EXPECT_EQ(tool_choice_tokens(R"({"type":"function","function":{"name":"hello"}})", encoding),
              8);
    EXPECT_EQ(tool_choice_tokens(R"({"name":"hello"})", encoding), 8);
    EXPECT_FALSE(tool_choice_tokens(R"({"type":"json_object"})", encoding));
    EXPECT_FALSE(tool_choice_tokens("[]", encoding));
}

TEST(TokenizerPrompt, ToolsOfOtherDialects) {
    const std::string begin = R"({"name":"f","description":"Does it.",)";
    const std::string schema = R"({"type":"object","properties":{"a":{"type":"string"}}}})";
    Encoding encoding(vocabulary("o200k_base"), Pattern::o200k, 1);
    const auto chat =
        tool_tokens(R"({"type":"function","function":)" + begin + "\"parameters\":" + schema + "}",
                    7, encoding);
    ASSERT_TRUE(chat);
    EXPECT_EQ(tool_tokens(begin + R"("type":"function","parameters":)" + schema, 7, encoding),
              chat);
    EXPECT_EQ(tool_tokens(begin + "\"input_schema\":" + schema, 7, encoding), chat);
}

TEST(TokenizerPrompt, SchemaOfAResponseFormat) {
    EXPECT_EQ(schema_in(R"({"type":"json_schema","json_schema":{"name":"n","schema": {"a":{}} }})"),
              R"({"a":{}})");
    EXPECT_EQ(schema_in(R"({"format":{"schema":{"schema":{}},"type":"json_schema"}})"),
              R"({"schema":{}})");
    for (const char* json : {R"({"type":"text"})", R"({"type":"json_object"})", "\"schema\"",
                             "null", R"(["schema",{}])",
                             R"({"format":{"type":"text"},"verbosity":"low"})"}) {
        EXPECT_EQ(schema_in(json), "") << json;
    }
    for (const char* json : {R"({"schema":null})", R"({"json_schema":{"description":"d"}})"}) {
        EXPECT_EQ(schema_in(json), json);
    }

    Counting counting;
    const std::string hello = R"({"model":"x","messages":[{"role":"user","content":"hello"}])";
    bool estimate = true;
    EXPECT_EQ(
        counting.prompt("gpt-4o", hello + R"(,"response_format":{"type":"text"}})", &estimate), 8);
    EXPECT_FALSE(estimate);
    const std::string schema = R"({"type":"object"})";
    EXPECT_EQ(counting.prompt("gpt-4o",
                              hello +
                                  R"(,"response_format":{"type":"json_schema","json_schema":)"
                                  R"({"schema":)" +
                                  schema + "}}}",
                              &estimate),
              8 + count(counting.encoding(EncodingName::o200k_base), schema));
    EXPECT_TRUE(estimate);
    const std::string escaped = R"({"json_schema":{"sch\u0065ma":)" + schema + "}}";
    EXPECT_EQ(counting.prompt("gpt-4o", hello + R"(,"response_format":)" + escaped + "}"),
              8 + count(counting.encoding(EncodingName::o200k_base), schema));
    const std::string other = R"({"type":"grammar","definition":"root ::= [0-9]+"})";
    EXPECT_EQ(counting.prompt("gpt-4o", hello + R"(,"response_format":)" + other + "}", &estimate),
              8 + count(counting.encoding(EncodingName::o200k_base), other));
    EXPECT_TRUE(estimate);
}

// What is said the same way in two dialects counts the same.
TEST(TokenizerPrompt, DialectsAgree) {
    Counting counting;
    const auto tokens = [&counting](const std::string& members, llm::Endpoint endpoint) {
        return counting.prompt("gpt-4o", R"({"model":"x",)" + members + "}", nullptr, 50'000,
                               endpoint);
    };
    const int64_t chat = tokens(
        R"("messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Why?"}])",
        llm::Endpoint::chat_completions);
    EXPECT_EQ(chat, 16);  // 2 × (3 + role) + 3 + 3 + 2
    EXPECT_EQ(tokens(R"("instructions":"Be brief.","input":"Why?")", llm::Endpoint::responses),
              chat);
    EXPECT_EQ(tokens(R"("instructions":"Be brief.","input":[{"type":"message","role":"user",)"
                     R"("content":[{"type":"input_text","text":"Why?"}]}])",
                     llm::Endpoint::responses),
              chat);
    EXPECT_EQ(tokens(R"("system":"Be brief.","messages":[{"role":"user","content":"Why?"}])",
                     llm::Endpoint::messages),
              chat);
    EXPECT_EQ(tokens(R"("system":[{"type":"text","text":"Be brief."}],"messages":[{"role":"user",)"
                     R"("content":[{"type":"text","text":"Why?"}]}])",
                     llm::Endpoint::messages),
              chat);
    EXPECT_EQ(tokens(R"("prompt":"Be brief.")", llm::Endpoint::token_counter), 3);
}

TEST(TokenizerPrompt, MediaHaveTheirRules) {
    Counting counting;
    const auto added = [&counting](const char* model, const std::string& part) {
        const auto tokens = [&](const std::string& parts) {
            bool estimate = false;
            const int64_t count = counting.prompt(
                model, R"({"model":"x","messages":[{"content":[)" + parts + "]}]}", &estimate);
            EXPECT_TRUE(estimate || parts == "\"t\"");
            return count;
        };
        return tokens("\"t\"," + part) - tokens("\"t\"");
    };
    const std::string second = R"({"type":"input_audio","input_audio":{"format":"pcm16","data":")" +
                               std::string(64'000, 'A') + "\"}}";
    EXPECT_EQ(added("gpt-4o-audio-preview", second), 10);
    EXPECT_EQ(added("gemini-2.5-pro", second), 32);
    const std::string image = R"({"image_url":{"url":"https://x"}})";
    EXPECT_EQ(added("gpt-4o", image), 1445);
    EXPECT_EQ(added("gpt-4o", R"({"image_url":{"url":"https://x","detail":"low"}})"), 85);
    EXPECT_EQ(added("claude-sonnet-4-5", image), 1568);
    EXPECT_EQ(added("gpt-4o", R"({"file":{"file_data":")" + std::string(4000, 'A') + "\"}}"), 1001);
    EXPECT_EQ(added("gpt-4o", R"({"file":{"file_id":"f"}})"), 0);
}

TEST(TokenizerPrompt, SlicesMakeNoDifference) {
    std::string text;
    for (int i = 0; i < 20'000; ++i) {
        text += i % 7 == 0 ? "\\n\\u4e2d" : " word";
    }
    const std::string body =
        R"({"model":"x","messages":[{"role":"user","content":")" + text +
        R"("},{"content":[{"image_url":"u"}]}],"tools":[{"type":"other"},{"name":"f"}],"response_format":{"schema":{"a":"b c"}}})";
    Counting counting;
    const int64_t whole = counting.prompt("gpt-4o", body, nullptr, 1u << 30);
    EXPECT_EQ(counting.slices, 1);
    EXPECT_EQ(counting.prompt("gpt-4o", body, nullptr, 1), whole);
    EXPECT_GT(counting.slices, 20);
}

TEST(TokenizerPrompt, EmbeddingsHaveNoFrame) {
    const std::string body = R"({"model":"x","input":["hello world","hello"]})";
    const llm::ScanResult scanned = llm::scan_request(body, llm::Endpoint::embeddings);
    Counting counting;
    PromptCount count(counting.encoding(EncodingName::cl100k_base),
                      model_tokens("text-embedding-3-small"), body,
                      std::get<llm::ScannedRequest>(scanned).prompt);
    EXPECT_TRUE(count.advance(1'000'000));
    EXPECT_EQ(count.tokens(), 3);
    EXPECT_FALSE(count.is_estimate());
}

// Its chat template, rendered and counted by HuggingFace's tokenizers.
TEST(TokenizerPrompt, QwenConversation) {
    const std::string body = R"({"model":"x","messages":[
        {"role":"system","content":"You are terse."},
        {"role":"user","content":"Count to 1234, 你好"},
        {"role":"assistant","content":"No.\n"},
        {"role":"user","content":"  Why not?"}]})";
    Counting counting;
    bool estimate = false;
    EXPECT_EQ(counting.prompt("Qwen/Qwen3-8B", body, &estimate), 43);
    EXPECT_TRUE(estimate);
}

TEST(TokenizerPrompt, MostOfQwen) {
    Counting counting;
    const auto most = [&](const std::string& field, llm::Endpoint endpoint) {
        const std::string body = R"({"model":"x",)" + field + "}";
        const auto scan = llm::scan_request(body, endpoint);
        PromptCount count(counting.encoding(EncodingName::qwen2), model_tokens("qwen2.5-7b"), body,
                          std::get<llm::ScannedRequest>(scan).prompt);
        EXPECT_TRUE(count.advance(1 << 30));
        return count.most();
    };
    // Rendered by the chat template of Qwen 2.5, with the system message that it adds.
    EXPECT_GE(most(R"("messages":[{"role":"user","content":"Count to 1234, 你好"}])",
                   llm::Endpoint::chat_completions),
              39);
    // Four bytes of each sign, twelve of what it is normalized to.
    std::string signs;
    for (int i = 0; i < 10; ++i) {
        append_utf8(0x1D160, signs);
    }
    EXPECT_GE(most(R"("prompt":")" + signs + '"', llm::Endpoint::completions), 10 * 12);
    // What stands before it is counted exactly.
    EXPECT_LT(most(R"("prompt":[")" + std::string(1000, 'a') + R"(","e\u0301"])",
                   llm::Endpoint::completions),
              200);
}

TEST(TokenizerPrompt, TextThatQwenNormalizesIsAnEstimate) {
    Counting counting;
    const auto is_estimate = [&](const std::string& text) {
        const std::string body = R"({"model":"x","prompt":")" + text + "\"}";
        bool estimate = false;
        counting.prompt("qwen3-8b", body, &estimate, 50'000, llm::Endpoint::completions);
        return estimate;
    };
    EXPECT_FALSE(is_estimate("\\u00e9"));
    EXPECT_TRUE(is_estimate("e\\u0301"));
}

TEST(TokenizerModels, Families) {
    const auto encoding = [](const char* model) { return model_tokens(model).text.encoding; };
    for (const char* model :
         {"gpt-4o", "gpt-4o-mini-2024-07-18", "openai/gpt-4.1", "gpt-5.1", "o1", "o3-mini",
          "o4-mini", "ft:gpt-4o-mini-2024-07-18:org::id", "GPT-4o"}) {
        EXPECT_EQ(encoding(model), EncodingName::o200k_base) << model;
        EXPECT_TRUE(model_tokens(model).text.exact) << model;
    }
    for (const char* model : {"gpt-4", "gpt-4-turbo", "gpt-4-0613", "gpt-3.5-turbo-0125",
                              "text-embedding-3-large", "azure/gpt-35-turbo", "davinci-002"}) {
        EXPECT_EQ(encoding(model), EncodingName::cl100k_base) << model;
        EXPECT_TRUE(model_tokens(model).text.exact) << model;
    }
    for (const char* model :
         {"claude-sonnet-4-5", "us.anthropic.claude-3-5-sonnet-20241022-v2:0", "gemini-2.5-pro",
          "meta-llama/Llama-3.1-8B", "mistral-large", "deepseek-chat", "unheard"}) {
        EXPECT_FALSE(model_tokens(model).text.exact) << model;
    }
    EXPECT_EQ(model_tokens("claude-3-5-sonnet").text.per_token,
              model_tokens("claude-sonnet-4-5").text.per_token);
    EXPECT_GT(model_tokens("claude-sonnet-5").text.per_token,
              model_tokens("claude-sonnet-4-5").text.per_token);
    EXPECT_GT(model_tokens("claude-opus-4-7").text.per_token,
              model_tokens("claude-opus-4-1").text.per_token);
}

TEST(TokenizerModels, Qwen) {
    for (const char* model :
         {"Qwen/Qwen3-32B", "qwen3:8b", "qwen.qwen3-coder-480b-a35b-v1:0", "qwen-3-235b-a22b",
          "Qwen/Qwen2.5-7B-Instruct", "qwen/qwen-2.5-72b-instruct", "qwen2p5-vl-32b-instruct",
          "Qwen2-VL-7B", "qwen2_5-omni", "qwen1.5-110b-chat", "qwen-7b-chat", "qwen-1.8b-chat",
          "qwen:72b", "Qwen-1_8B", "Qwen/QwQ-32B", "QVQ-72B-Preview", "qwen3-next-80b-a3b"}) {
        EXPECT_EQ(model_tokens(model).text.encoding, EncodingName::qwen2) << model;
        EXPECT_TRUE(model_tokens(model).text.exact) << model;
        EXPECT_FALSE(model_tokens(model).frame.exact) << model;
    }
    for (const char* model :
         {"Qwen/Qwen3.5-397B-A17B", "qwen3.5:35b", "qwen3p6-27b", "qwen-max", "qwen-plus-latest",
          "qwen4", "qwen", "Qwen/CodeQwen1.5-7B-Chat", "Qwen/Qwen3-Embedding-8B",
          "Alibaba-NLP/gte-Qwen2-7B-instruct", "Qwen/WorldPM-72B"}) {
        EXPECT_EQ(model_tokens(model).text.encoding, EncodingName::qwen2) << model;
        EXPECT_FALSE(model_tokens(model).text.exact) << model;
    }
    EXPECT_NE(model_tokens("deepseek-r1-distill-qwen-32b").text.encoding, EncodingName::qwen2);
}

TEST(TokenizerModels, EstimatesGoByCharacters) {
    Encoding encoding(vocabulary("cl100k_base"), Pattern::cl100k, 1);
    CharacterCounts characters;
    Counter counter(encoding, characters);
    counter.feed("a\u00E9\u0436\u4E2D\U0001F600", TextForm::plain);
    counter.feed("\\u4e2d\\ud83d\\ude00", TextForm::json);
    counter.finish();
    EXPECT_EQ(characters.two, 2);
    EXPECT_EQ(characters.three, 2);
    EXPECT_EQ(characters.four, 2);
    const TextRule rule = model_tokens("llama-3.1-8b").text;
    EXPECT_EQ(text_tokens(rule, 1000, {}), 1002);
    EXPECT_LT(text_tokens(rule, 1000, {0, 500, 0}), 850);
    EXPECT_EQ(text_tokens(rule, 100, {0, 0, 1000}), 25);
}

}  // namespace
