#include <gtest/gtest.h>

#include <chrono>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "llm/response_tap.hpp"

namespace llm {
namespace {

bool same_facts(const ResponseFacts& a, const ResponseFacts& b) {
    return a.has_usage == b.has_usage && (!a.has_usage || a.usage == b.usage) &&
           a.output_bytes == b.output_bytes && a.complete == b.complete &&
           a.malformed == b.malformed && a.has_output == b.has_output && a.model == b.model;
}

ResponseFacts read_in_pieces(std::string_view body, size_t first, size_t piece) {
    JsonTap tap;
    tap.feed(body.substr(0, first));
    for (size_t at = first; at < body.size(); at += piece) {
        // Its own exact allocation: a view kept too long is found by ASan.
        const auto part = body.substr(at, piece);
        const std::vector<char> copy(part.begin(), part.end());
        tap.feed({copy.data(), copy.size()});
    }
    tap.finish();
    return tap.facts();
}

// The facts of the body, the same for every cut into two and byte by byte.
ResponseFacts read(std::string_view body) {
    const ResponseFacts whole = read_json_response(body);
    for (size_t cut = 0; cut <= body.size(); cut += 1 + body.size() / 2000) {
        EXPECT_TRUE(same_facts(read_in_pieces(body, cut, body.size() + 1), whole))
            << "cut at " << cut;
    }
    EXPECT_TRUE(same_facts(read_in_pieces(body, 0, 1), whole)) << "byte by byte";
    return whole;
}

ResponseFacts read_usage(const std::string& usage) {
    return read(R"({"choices":[],"usage":)" + usage + "}");
}

constexpr std::string_view kChat = R"({
  "id": "chatcmpl-1", "object": "chat.completion", "created": 1741569952, "model": "gpt-4o-2024-11-20",
  "choices": [{
    "index": 0,
    "message": {"role": "assistant", "content": "Hé\n\u4e16\ud83d\ude00", "refusal": null, "annotations": []},
    "logprobs": {"content": [{"token": "H", "bytes": [72], "top_logprobs": []}]},
    "finish_reason": "stop"
  }],
  "usage": {
    "prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 7, "cache_write_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 192, "audio_tokens": 3,
      "accepted_prediction_tokens": 11, "rejected_prediction_tokens": 12}
  },
  "service_tier": "default", "system_fingerprint": null
}
)";

TEST(JsonResponse, ReadsAChatCompletion) {
    const auto facts = read(kChat);
    Usage usage;
    usage.prompt_tokens = 2006;
    usage.completion_tokens = 300;
    usage.cached_tokens = 1920;
    usage.cache_write_tokens = 5;
    usage.reasoning_tokens = 192;
    usage.audio_prompt_tokens = 7;
    usage.audio_completion_tokens = 3;
    usage.terms.at_s = 1741569952;
    EXPECT_TRUE(facts.has_usage);
    EXPECT_EQ(facts.usage, usage);
    EXPECT_EQ(facts.model, "gpt-4o-2024-11-20");
    EXPECT_EQ(facts.output_bytes, 1 + 2 + 1 + 3 + 4);
    EXPECT_TRUE(facts.complete);
    EXPECT_TRUE(facts.has_output);
    EXPECT_FALSE(facts.malformed);
}

TEST(JsonResponse, CountsAllOutput) {
    EXPECT_EQ(read(R"({"choices":[
        {"message":{"role":"assistant","content":null,"reasoning_content":"1234","tool_calls":[
            {"id":"call_1","type":"function","function":{"name":"get","arguments":"{\"a\":1}"}},
            {"id":"call_2","type":"function","function":{"name":"set","arguments":""}}]}},
        {"message":{"reasoning":"ab","refusal":"no","content":"c"}},
        {"text":"xyz"}, {"message":{"function_call":{"name":"f","arguments":"{}"}}}],
        "message":{"content":"not output"}})")
                  .output_bytes,
              4 + 3 + 7 + 3 + 2 + 2 + 1 + 3 + 1 + 2);
}

TEST(JsonResponse, ReadsACompletion) {
    const auto facts =
        read(R"({"id":"cmpl-1","object":"text_completion","model":"gpt-3.5-turbo-instruct",
        "choices":[{"text":"\n\nThis is a test","index":0,"logprobs":null,"finish_reason":"length"}],
        "usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}})");
    EXPECT_TRUE(facts.has_usage);
    EXPECT_EQ(facts.usage.prompt_tokens, 5);
    EXPECT_EQ(facts.usage.completion_tokens, 7);
    EXPECT_EQ(facts.output_bytes, 16);
}

TEST(JsonResponse, ReadsEmbeddings) {
    const auto facts = read(R"({"object":"list","data":[{"object":"embedding","index":0,
        "embedding":[0.0023064255,-0.009327292,1e-05]},{"embedding":"AACAPwAAAEA="}],
        "model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}})");
    EXPECT_TRUE(facts.has_usage);
    EXPECT_EQ(facts.usage.prompt_tokens, 8);
    EXPECT_EQ(facts.usage.completion_tokens, 0);
    EXPECT_EQ(facts.output_bytes, 0);
    EXPECT_FALSE(facts.has_output);
    EXPECT_TRUE(facts.complete);
}

TEST(JsonResponse, ReadsOtherProvidersUsage) {
    EXPECT_EQ(read_usage(R"({"prompt_tokens":9,"completion_tokens":1,"prompt_cache_hit_tokens":6,
        "prompt_cache_miss_tokens":3})")
                  .usage.cached_tokens,
              6);
    EXPECT_EQ(read_usage(R"({"prompt_tokens":9,"prompt_tokens_details":null,
        "completion_tokens_details":{"reasoning_tokens":null}})")
                  .usage.prompt_tokens,
              9);
    // Reasoning beside the completion.
    EXPECT_EQ(read_usage(R"({"prompt_tokens":10,"completion_tokens":5,"total_tokens":40})")
                  .usage.completion_tokens,
              30);
    EXPECT_EQ(read_usage(R"({"total_tokens":3,"prompt_tokens":10,"completion_tokens":5})")
                  .usage.completion_tokens,
              5);
}

TEST(JsonResponse, RefusesMalformedUsage) {
    for (const char* count : {"-1", "1.0", "1e3", "\"7\"", "true", "[7]", "{}",
                              "9223372036854775808", "1000000000001", "null"}) {
        const auto facts =
            read_usage(std::string(R"({"completion_tokens":1,"prompt_tokens":)") + count + "}");
        EXPECT_FALSE(facts.has_usage) << count;
        EXPECT_TRUE(facts.malformed) << count;
        EXPECT_TRUE(facts.complete) << count;
    }
    EXPECT_FALSE(
        read_usage(R"({"prompt_tokens":1,"completion_tokens_details":{"reasoning_tokens":-1}})")
            .has_usage);
    EXPECT_FALSE(read_usage("{}").has_usage);
    EXPECT_TRUE(read_usage("{}").malformed);
    for (const char* none : {"null", "7", "[]", "\"x\"", "[{\"prompt_tokens\":1}]"}) {
        EXPECT_FALSE(read_usage(none).has_usage) << none;
        EXPECT_FALSE(read_usage(none).malformed) << none;
    }
}

TEST(JsonResponse, NestedUsageIsNotUsage) {
    const auto facts = read(R"({"choices":[{"usage":{"prompt_tokens":1},"message":{
        "content":"{\"usage\":{\"prompt_tokens\":2}}","usage":{"prompt_tokens":3},
        "tool_calls":[{"function":{"name":"f","arguments":"\"usage\":{\"prompt_tokens\":4}"}}]}}],
        "data":{"usage":{"prompt_tokens":5},"model":"no"},"x":[{"usage":{"prompt_tokens":6}}],
        "usage":{"usage":{"prompt_tokens":8},"prompt_tokens":7,"details":{"prompt_tokens":9}}})");
    EXPECT_TRUE(facts.has_usage);
    EXPECT_EQ(facts.usage.prompt_tokens, 7);
    EXPECT_EQ(facts.model, "");
    EXPECT_FALSE(read(R"({"data":{"usage":{"prompt_tokens":5}}})").has_usage);
    EXPECT_TRUE(read("{\"us\\u0061ge\":{\"prompt_tokens\":5}}").has_usage)
        << "an escaped key is the key";
}

TEST(JsonResponse, KnowsWhatIsNoWholeObject) {
    for (const char* text : {"",
                             " ",
                             "<html>502</html>",
                             "null",
                             "5",
                             "\"x\"",
                             "[]",
                             "[{}]",
                             "{",
                             "{\"a\":",
                             "{\"a\":1",
                             "{\"a\":\"",
                             "{} {}",
                             "{},",
                             "{} \"",
                             "{} \"abc",
                             "{} 1",
                             "{} x",
                             "{}}",
                             "{\"a\":tru}",
                             "{a:1}",
                             "{\"a\":1,}",
                             "{\"a\":\"\x01\"}",
                             "{\"a\":\"\\x\"}",
                             "{\"a\":\"\\u12\"}"}) {
        const auto facts = read(text);
        EXPECT_TRUE(facts.malformed) << text;
        EXPECT_FALSE(facts.complete) << text;
    }
    EXPECT_TRUE(read("  {}\n\n").complete);
    EXPECT_FALSE(read("\n \n {} ").malformed);
}

TEST(JsonResponse, TruncatedAnywhereIsMalformed) {
    const auto body = kChat.substr(0, kChat.find_last_of('}') + 1);
    for (size_t size = 0; size < body.size(); ++size) {
        const auto facts = read_json_response(body.substr(0, size));
        ASSERT_TRUE(facts.malformed) << size;
        ASSERT_FALSE(facts.complete) << size;
    }
    EXPECT_TRUE(read_json_response(body).complete);
}

std::string nested(size_t depth) {
    return "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
}

// Short documents in one piece are not read by yajl: it must tell the same of anything.
TEST(JsonResponse, BothReadersTellTheSame) {
    const std::string documents[] = {
        R"({"choices":[{"index":0,"delta":{"content":"H\u00e9 \"x\" \\ \n","refusal":null}}],"usage":null})",
        R"({"model":"gpt-4o","choices":[{"message":{"content":"Hé","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}],)"
        R"("usage":{"prompt_tokens":12,"completion_tokens":3.0,"prompt_tokens_details":{"cached_tokens":1e1}}})",
        R"({"type":"message_delta","delta":{"text":"a"},"usage":{"output_tokens":7,"input_tokens":-1}} )",
        R"({"candidates":[{"content":{"parts":[{"text":"x"},true,[{}],7]}}],"usageMetadata":{"promptTokenCount":4}})",
    };
    constexpr std::string_view kBytes = "{}[]\",:\\u0123tfn-.eE \x01\x80\xff\xd8";
    std::mt19937 random(7);
    for (int i = 0; i < 10'000; ++i) {
        std::string text = documents[random() % std::size(documents)];
        for (size_t n = random() % 4; n > 0; --n) {
            const size_t at = random() % text.size();
            const char byte = kBytes[random() % kBytes.size()];
            switch (random() % 3) {
                case 0:
                    text[at] = byte;
                    break;
                case 1:
                    text.insert(at, 1, byte);
                    break;
                default:
                    text.erase(at, 1 + random() % 8);
                    break;
            }
            if (text.empty()) {
                break;
            }
        }
        const ResponseFacts whole = read_in_pieces(text, 0, text.size() + 1);
        const ResponseFacts pieces = read_in_pieces(text, 0, 1);
        ASSERT_TRUE(same_facts(whole, pieces)) << text;
    }
}

TEST(JsonResponse, LimitsDepth) {
    EXPECT_TRUE(read(nested(127)).complete);
    EXPECT_TRUE(read(nested(128)).malformed);
    EXPECT_TRUE(read_json_response("{\"a\":" + std::string(1'000'000, '[')).malformed);
}

TEST(JsonResponse, LimitsTheModelsName) {
    EXPECT_EQ(read(R"({"model":")" + std::string(5000, 'm') + "\"}").model, std::string(256, 'm'));
    EXPECT_EQ(read(R"({"model":"a\u0000b"})").model, "");
    EXPECT_EQ(read(R"({"model":null})").model, "");
}

// `unit`, as it stands in JSON, again and again: its decoded size is counted exactly, long or
// short.
void expect_counted(const std::string& unit, int64_t decoded) {
    for (const int64_t times : {1, 100, 1024, 3000}) {
        std::string content;
        for (int64_t i = 0; i < times; ++i) {
            content += unit;
        }
        const auto facts = read(R"({"choices":[{"message":{"content":")" + content +
                                R"(","refusal":"r"}}],"usage":{"prompt_tokens":1}})");
        EXPECT_EQ(facts.output_bytes, times * decoded + 1) << unit << " × " << times;
        EXPECT_TRUE(facts.complete);
        EXPECT_TRUE(facts.has_usage);
    }
}

TEST(JsonResponse, CountsLongStrings) {
    expect_counted("x", 1);
    expect_counted("\\n", 1);
    expect_counted("\\\\", 1);
    expect_counted("a\\\"", 2);
    expect_counted("世", 3);
    expect_counted("\\u4e16", 3);
}

TEST(JsonResponse, LongEscapesAreAnUpperBound) {
    std::string content;
    for (int i = 0; i < 3000; ++i) {
        content += "\\ud83d\\ude00\\u00e9";
    }
    const auto facts = read(R"({"choices":[{"message":{"content":")" + content + "\"}}]}");
    EXPECT_GE(facts.output_bytes, 3000 * 6);
    EXPECT_LE(facts.output_bytes, 3000 * 9);
    EXPECT_TRUE(facts.complete);
}

TEST(JsonResponse, LongKeysAndOtherStringsAreNotOutput) {
    const std::string filler(100'000, 'k');
    const auto facts = read_json_response("{\"" + filler + "\":\"" + filler +
                                          R"(","choices":[{"message":{"audio":")" + filler +
                                          R"(","content":"abc"}}],"usage":{"prompt_tokens":4}})");
    EXPECT_EQ(facts.output_bytes, 3);
    EXPECT_EQ(facts.usage.prompt_tokens, 4);
    EXPECT_TRUE(facts.complete);
}

double seconds_of(std::string_view body, size_t piece) {
    const auto start = std::chrono::steady_clock::now();
    const auto facts = read_in_pieces(body, 0, piece);
    EXPECT_NE(facts.complete, facts.malformed);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(JsonResponse, LongTokensAreLinearAndBounded) {
    const std::string filler(4'000'000, '7');
    // Buffering and rescanning the token at each piece would be 8e10 steps.
    EXPECT_LT(seconds_of("{\"a\":\"" + filler + "\"}", 100), 3.0);
    const std::string escape_at_the_limit = std::string(1023, 'x') + "\\n";
    EXPECT_LT(seconds_of("{\"a\":\"" + escape_at_the_limit + filler + "\"}", 100), 3.0);
    EXPECT_LT(seconds_of("{\"a\":" + filler + "}", 100), 3.0);
    EXPECT_TRUE(read_in_pieces("{\"a\":" + filler + "}", 0, 4096).malformed);
}

TEST(JsonResponse, BlanksBeforeAnAnswerAreNoToken) {
    // Some providers keep a slow request alive with empty lines.
    const auto facts =
        read_in_pieces(std::string(200'000, '\n') + R"({"usage":{"prompt_tokens":1}})", 0, 10);
    EXPECT_TRUE(facts.complete);
    EXPECT_TRUE(facts.has_usage);
}

}  // namespace
}  // namespace llm
