#include "llm/response_tap.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace llm {
namespace {

bool same_facts(const ResponseFacts& a, const ResponseFacts& b) {
    return a.has_usage == b.has_usage && (!a.has_usage || a.usage == b.usage) &&
           a.output_bytes == b.output_bytes && a.complete == b.complete &&
           a.malformed == b.malformed && a.has_output == b.has_output && a.model == b.model;
}

struct Passed {
    std::string bytes;
    ResponseFacts facts;
};

Passed pass(std::string_view stream, bool hide, size_t first, size_t piece) {
    SseTap tap(hide);
    Passed passed;
    const auto feed = [&](std::string_view part) {
        const std::vector<char> copy(part.begin(), part.end());
        passed.bytes += tap.pass({copy.data(), copy.size()});
    };
    feed(stream.substr(0, first));
    for (size_t at = first; at < stream.size(); at += piece) {
        feed(stream.substr(at, piece));
    }
    passed.bytes += tap.finish();
    passed.facts = tap.facts();
    return passed;
}

Passed pass_whole(std::string_view stream, bool hide) {
    return pass(stream, hide, stream.size(), 1);
}

// What is passed and learned, the same for every cut into two and several piece sizes.
Passed pass_any(std::string_view stream, bool hide) {
    const Passed whole = pass_whole(stream, hide);
    const auto same = [&](const Passed& passed) {
        return passed.bytes == whole.bytes && same_facts(passed.facts, whole.facts);
    };
    for (size_t cut = 0; cut <= stream.size(); ++cut) {
        EXPECT_TRUE(same(pass(stream, hide, cut, stream.size() + 1))) << "cut at " << cut;
    }
    for (const size_t piece : {1, 2, 3, 7, 64, 200}) {
        EXPECT_TRUE(same(pass(stream, hide, 0, piece))) << "pieces of " << piece;
    }
    return whole;
}

std::string event(std::string_view data) {
    return "data: " + std::string(data) + "\n\n";
}

const std::string kBegin =
    event(
        R"({"id":"c","object":"chat.completion.chunk","model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,)"
        R"("delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null})") +
    event(
        R"({"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}],"usage":null})") +
    ": keep-alive\n\n" +
    event(
        R"({"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function",)"
        R"("function":{"name":"get","arguments":"{\"usage\":1}"}}]}}]})") +
    event(
        R"({"choices":[{"index":0,"delta":{"reasoning_content":"hm","content":null},"finish_reason":"stop"}]})");
const std::string kUsage =
    event(R"({"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":19,)"
          R"("completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":4},)"
          R"("completion_tokens_details":{"reasoning_tokens":2}}})");
const std::string kDone = event("[DONE]");

void expect_facts(const ResponseFacts& facts) {
    Usage usage;
    usage.prompt_tokens = 19;
    usage.completion_tokens = 10;
    usage.cached_tokens = 4;
    usage.reasoning_tokens = 2;
    EXPECT_TRUE(facts.has_usage);
    EXPECT_EQ(facts.usage, usage);
    EXPECT_EQ(facts.output_bytes, 5 + 3 + 11 + 2);
    EXPECT_EQ(facts.model, "gpt-4o-mini-2024-07-18");
    EXPECT_TRUE(facts.complete);
    EXPECT_TRUE(facts.has_output);
    EXPECT_FALSE(facts.malformed);
}

TEST(SseTap, PassesEverythingIfNothingIsToBeHidden) {
    const std::string stream = kBegin + kUsage + kDone;
    const Passed passed = pass_any(stream, false);
    EXPECT_EQ(passed.bytes, stream);
    expect_facts(passed.facts);

    SseTap tap(false);
    const std::string_view half = std::string_view(stream).substr(0, 100);
    EXPECT_EQ(tap.pass(half).data(), half.data());
}

TEST(SseTap, HidesTheUsageChunk) {
    const Passed passed = pass_any(kBegin + kUsage + kDone, true);
    EXPECT_EQ(passed.bytes, kBegin + kDone);
    expect_facts(passed.facts);
}

std::string with_crlf(const std::string& text) {
    std::string result;
    for (const char c : text) {
        result += c == '\n' ? "\r\n" : std::string(1, c);
    }
    return result;
}

TEST(SseTap, HidesTheUsageChunkWithItsLineEnds) {
    const Passed passed = pass_any(with_crlf(kBegin + kUsage + kDone), true);
    EXPECT_EQ(passed.bytes, with_crlf(kBegin + kDone));
    expect_facts(passed.facts);
}

TEST(SseTap, AnEventIsPassedOnAtOnce) {
    SseTap tap(true);
    EXPECT_EQ(tap.pass("data: {\"choices\":[{}]}\r\n\r"), "data: {\"choices\":[{}]}\r\n\r");
    EXPECT_EQ(tap.pass("\n"), "\n");
    EXPECT_EQ(tap.pass("data: {"), "");
    EXPECT_EQ(tap.pass("}\n\ndata"), "data: {}\n\n");
    EXPECT_EQ(tap.finish(), "data");
}

TEST(SseTap, CopiesNothingWithoutNeed) {
    SseTap tap(true);
    const std::string whole = kBegin;
    EXPECT_EQ(tap.pass(whole).data(), whole.data());
    EXPECT_EQ(tap.pass(kUsage), "");
    const std::string shown_then_held = kBegin + "data: ";
    const auto passed = tap.pass(shown_then_held);
    EXPECT_EQ(passed, kBegin);
    EXPECT_EQ(passed.data(), shown_then_held.data());
    EXPECT_EQ(tap.pass("[DONE]\n\n"), kDone);
}

TEST(SseTap, HidesNothingElse) {
    for (const char* data :
         {R"({"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}})",
          R"({"choices":[],"usage":null})", R"({"choices":[],"prompt_filter_results":[{}]})",
          R"({"usage":{"prompt_tokens":1}})", R"({"choices":{},"usage":{"prompt_tokens":1}})",
          R"({"choices":[1],"usage":{"prompt_tokens":1}})",
          R"({"choices":[[]],"usage":{"prompt_tokens":1}})",
          R"({"choices":null,"usage":{"prompt_tokens":1}})",
          R"({"choices":[],"usage":{"prompt_tokens":1},"error":{"message":"m"}})",
          R"({"error":{"message":"overloaded","choices":[],"usage":{"prompt_tokens":1}}})",
          R"({"x":{"choices":[],"usage":{"prompt_tokens":1}}})",
          R"({"choices":[],"usage":{"prompt_tokens":1}} x)", "oops", "[DONE] ", "{}"}) {
        EXPECT_EQ(pass_any(event(data), true).bytes, event(data));
    }
}

TEST(SseTap, HidesByTheChunkItselfNotByTheOneBefore) {
    const std::string after =
        event("{}") + event(R"({"usage":{"prompt_tokens":1}})") + event(R"({"choices":[]})");
    EXPECT_EQ(pass_any(kUsage + after, true).bytes, after);
}

TEST(SseTap, HidesTheChunkInAnyForm) {
    for (const char* data : {R"({"usage":{"prompt_tokens":1},"choices":[]})",
                             R"( { "choices" : [ ] , "usage" : { } } )",
                             "{\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":1}}",
                             R"({"choices":[],"usage":{"prompt_tokens":-1}})",
                             R"({"error":null,"\u0063hoices":[],"usage":{"prompt_tokens":1}})"}) {
        EXPECT_EQ(pass_any(event(data), true).bytes, "") << data;
    }
    EXPECT_EQ(pass_any("event: x\nid: 1\n" + kUsage, true).bytes, "");
}

TEST(SseTap, TheLastUsageWins) {
    const auto chunk = [](int prompt, int completion) {
        return event(R"({"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":)" +
                     std::to_string(prompt) + R"(,"completion_tokens":)" +
                     std::to_string(completion) + "}}");
    };
    const auto facts = pass_any(chunk(5, 1) + chunk(5, 2) + chunk(6, 3), true).facts;
    EXPECT_EQ(facts.usage.prompt_tokens, 6);
    EXPECT_EQ(facts.usage.completion_tokens, 3);
    EXPECT_EQ(facts.output_bytes, 3);
    EXPECT_FALSE(pass_any(chunk(5, 1) + chunk(-1, 2), false).facts.has_usage);
    EXPECT_TRUE(pass_any(chunk(-1, 2) + chunk(5, 1), false).facts.has_usage);
}

TEST(SseTap, GoesOnAfterGarbage) {
    for (const char* garbage :
         {"oops", "{\"a\":\"", "{\"choices\":[", "[]", "{}{}", "{} \"x", "\"\\", "12"}) {
        const std::string stream = event(garbage) + kBegin + event(garbage) + kUsage + kDone;
        const Passed passed = pass_any(stream, true);
        EXPECT_EQ(passed.bytes, event(garbage) + kBegin + event(garbage) + kDone);
        EXPECT_TRUE(passed.facts.malformed) << garbage;
        EXPECT_TRUE(passed.facts.has_usage) << garbage;
        EXPECT_EQ(passed.facts.output_bytes, 21) << garbage;
    }
}

TEST(SseTap, AStreamCutAnywhereLosesNoByteThatMayBeShown) {
    const std::string stream = kBegin + kUsage;
    for (size_t size = 0; size < kBegin.size(); ++size) {
        const Passed passed = pass_whole(std::string_view(stream).substr(0, size), true);
        ASSERT_EQ(passed.bytes, stream.substr(0, size));
        ASSERT_FALSE(passed.facts.complete);
        ASSERT_FALSE(passed.facts.has_usage);
    }
    EXPECT_EQ(pass_any(kBegin, true).facts.output_bytes, 21);
}

TEST(SseTap, ReadsAndHidesTheLastEventWithoutItsEmptyLine) {
    const std::string usage = kUsage.substr(0, kUsage.size() - 2);
    const Passed hidden = pass_any(kBegin + usage, true);
    EXPECT_EQ(hidden.bytes, kBegin);
    EXPECT_EQ(hidden.facts.usage.prompt_tokens, 19);
    EXPECT_TRUE(pass_any(kBegin + usage, false).facts.has_usage);
    EXPECT_EQ(pass_any(kBegin + usage, false).bytes, kBegin + usage);
    EXPECT_TRUE(pass_any(kBegin + "data: [DONE]\n", true).facts.complete);
}

TEST(SseTap, PassesUnparsedAfterAnOverflow) {
    const std::string large = event("{\"a\":\"" + std::string(SseSplitter::kMaxEvent, 'x') + "\"}");
    const std::string stream = kBegin + large + kUsage + kDone;
    for (const size_t piece : {size_t{4096}, size_t{100'000}, stream.size()}) {
        const Passed passed = pass(stream, true, 0, piece);
        EXPECT_EQ(passed.bytes, stream);
        EXPECT_TRUE(passed.facts.malformed);
        EXPECT_FALSE(passed.facts.has_usage);
        EXPECT_EQ(passed.facts.output_bytes, 21);
        EXPECT_EQ(pass(stream, false, 0, piece).bytes, stream);
    }
}

TEST(SseTap, AnEmptyStreamSaysNothing) {
    EXPECT_TRUE(same_facts(pass_any("", true).facts, ResponseFacts()));
    EXPECT_TRUE(same_facts(pass_any(": ping\n\nretry: 1\n\n\n", true).facts, ResponseFacts()));
}

}  // namespace
}  // namespace llm
