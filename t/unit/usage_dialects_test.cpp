// Responses of each dialect as providers send them, cut at every byte: what was used, and its cost.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "llm/prices.hpp"
#include "llm/response_tap.hpp"

namespace llm {
namespace {

ResponseFacts read_json_cut(std::string_view body, size_t cut) {
    JsonTap tap;
    tap.feed(body.substr(0, cut));
    tap.feed(body.substr(cut));
    tap.finish();
    return tap.facts();
}

ResponseFacts read_stream_cut(std::string_view stream, size_t cut) {
    SseTap tap(false);
    tap.pass(stream.substr(0, cut));
    tap.pass(stream.substr(cut));
    tap.finish();
    return tap.facts();
}

template <class Read>
ResponseFacts read_any(std::string_view text, Read read_cut) {
    const ResponseFacts whole = read_cut(text, text.size());
    for (size_t cut = 0; cut < text.size(); ++cut) {
        const ResponseFacts facts = read_cut(text, cut);
        EXPECT_EQ(facts.usage, whole.usage) << "cut at " << cut;
        EXPECT_EQ(facts.has_usage, whole.has_usage) << "cut at " << cut;
        EXPECT_EQ(facts.output_bytes, whole.output_bytes) << "cut at " << cut;
        EXPECT_EQ(facts.complete, whole.complete) << "cut at " << cut;
        EXPECT_EQ(facts.model, whole.model) << "cut at " << cut;
        EXPECT_EQ(facts.malformed, whole.malformed) << "cut at " << cut;
    }
    return whole;
}

ResponseFacts read_json(std::string_view body) {
    const ResponseFacts facts = read_any(body, read_json_cut);
    EXPECT_TRUE(facts.complete);
    EXPECT_TRUE(facts.has_usage);
    EXPECT_FALSE(facts.malformed);
    return facts;
}

ResponseFacts read_stream(std::string_view stream) {
    const ResponseFacts facts = read_any(stream, read_stream_cut);
    EXPECT_TRUE(facts.complete);
    EXPECT_TRUE(facts.has_usage);
    EXPECT_FALSE(facts.malformed);
    return facts;
}

// Nano-USD per token, so that each count shows in the cost: 1000 in, 100 read, 2000 written, 3000
// written for hours, 10'000 out, 20'000 for reasoning; 5000 of audio and 7000 of image in, 30'000
// and 40'000 out; a milli-USD a search.
NanoUsd cost_of(const Usage& usage, const std::string& more = "") {
    const auto table = PriceTable::parse(R"({"m":{"input_cost_per_token": 1e-6,
        "cache_read_input_token_cost": 1e-7, "cache_creation_input_token_cost": 2e-6,
        "cache_creation_input_token_cost_above_1hr": 3e-6, "output_cost_per_token": 1e-5,
        "output_cost_per_reasoning_token": 2e-5, "input_cost_per_audio_token": 5e-6,
        "input_cost_per_image_token": 7e-6, "output_cost_per_audio_token": 3e-5,
        "output_cost_per_image_token": 4e-5, "output_cost_per_image": 0.04,
        "input_cost_per_second": 1e-4, "input_cost_per_character": 1.5e-5,
        "search_context_cost_per_query": {"search_context_size_low": 0.001,
            "search_context_size_medium": 0.001, "search_context_size_high": 0.002},
        "file_search_cost_per_1k_calls": 2.5, "code_interpreter_cost_per_session": 0.03)" +
                                         more + "}}");
    return table->find("m")->cost(usage).total();
}

TEST(OpenAi, ChatCompletion) {
    const auto facts = read_json(R"({"id":"chatcmpl-1","object":"chat.completion",
        "created":1763596800,"model":"gpt-5.1-2025-11-13","choices":[{"index":0,"message":{
        "role":"assistant","content":"Hello","annotations":[]},"finish_reason":"stop"}],"usage":{
        "prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"prompt_tokens_details":{
        "cached_tokens":1920,"audio_tokens":6},"completion_tokens_details":{"reasoning_tokens":192,
        "audio_tokens":8,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},
        "service_tier":"priority","system_fingerprint":null})");
    EXPECT_EQ(facts.usage.terms.tier, ServiceTier::priority);
    EXPECT_EQ(facts.usage.terms.at_s, 1763596800);
    EXPECT_EQ(cost_of(facts.usage),
              80 * 1000 + 6 * 5000 + 1920 * 100 + 100 * 10'000 + 192 * 20'000 + 8 * 30'000);
    EXPECT_EQ(
        cost_of(facts.usage, R"(,"input_cost_per_token_priority": 2e-6)") - cost_of(facts.usage),
        80 * 1000);
}

TEST(OpenAi, ChatCompletionThatSearched) {
    const auto facts = read_json(R"({"model":"gpt-4o-search-preview","choices":[{"message":{
        "content":"It is [1].","annotations":[
        {"type":"url_citation","url_citation":{"url":"https://a.example","title":"A"}},
        {"type":"url_citation","url_citation":{"url":"https://b.example","title":"B"}}]}}],
        "usage":{"prompt_tokens":10,"completion_tokens":0}})");
    EXPECT_EQ(facts.usage.searches, 1);
    EXPECT_EQ(cost_of(facts.usage), 10'000 + 1'000'000);
}

TEST(OpenAi, ChatStream) {
    const auto facts = read_stream(
        "data: {\"id\":\"c\",\"model\":\"gpt-4o\",\"service_tier\":\"default\",\"choices\":[{"
        "\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n"
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n"
        "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":2,"
        "\"total_tokens\":10,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n"
        "data: [DONE]\n\n");
    EXPECT_EQ(facts.output_bytes, 2);
    EXPECT_EQ(cost_of(facts.usage), 4 * 1000 + 4 * 100 + 2 * 10'000);
}

TEST(OpenAi, Completion) {
    EXPECT_EQ(cost_of(read_json(R"({"object":"text_completion","model":"gpt-3.5-turbo-instruct",
        "choices":[{"text":"x","index":0,"finish_reason":"length"}],
        "usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}})")
                          .usage),
              5 * 1000 + 7 * 10'000);
}

TEST(OpenAi, Embeddings) {
    const auto facts = read_json(R"({"object":"list","data":[{"object":"embedding","index":0,
        "embedding":[0.1,-2e-05]}],"model":"text-embedding-3-small",
        "usage":{"prompt_tokens":8,"total_tokens":8}})");
    EXPECT_EQ(facts.usage.images, 0);
    EXPECT_EQ(cost_of(facts.usage), 8 * 1000);
    EXPECT_EQ(cost_of(read_json(R"({"data":[],"usage":{"total_tokens":3}})").usage), 3 * 1000);
}

constexpr std::string_view kResponse =
    R"({"id":"resp_1","object":"response","created_at":1763596800,
    "status":"completed","model":"gpt-5.1","output":[
    {"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"think"}]},
    {"id":"ws_1","type":"web_search_call","status":"completed","action":{"type":"search",
     "query":"x","sources":[{"type":"url","url":"https://a.example"}]}},
    {"id":"ws_2","type":"web_search_call","action":{"type":"open_page","url":"https://a.example"}},
    {"id":"fs_1","type":"file_search_call","queries":["y"],"results":null},
    {"id":"ci_1","type":"code_interpreter_call","code":"1","container_id":"cntr_1"},
    {"id":"ci_2","type":"code_interpreter_call","code":"2","container_id":"cntr_1"},
    {"id":"msg_1","type":"message","role":"assistant","content":[{"type":"output_text",
     "text":"Hello","annotations":[{"type":"container_file_citation","container_id":"cntr_2"}]}]},
    {"type":"function_call","name":"f","arguments":"{}","call_id":"call_1"}],
    "parallel_tool_calls":true,"service_tier":"flex","text":{"format":{"type":"text"}},
    "usage":{"input_tokens":320,"input_tokens_details":{"cached_tokens":64,"cache_write_tokens":50,
     "cache_write_tokens_details":{"ttl_30m_tokens":20,"ttl_12h_tokens":30}},"output_tokens":90,
     "output_tokens_details":{"reasoning_tokens":30},"total_tokens":410}})";

constexpr NanoUsd kResponseCost = 206 * 1000 + 64 * 100 + 20 * 2000 + 30 * 3000 + 60 * 10'000 +
                                  30 * 20'000 + 1'000'000 + 2'500'000 + 30'000'000;

TEST(OpenAi, Responses) {
    const auto facts = read_json(kResponse);
    EXPECT_EQ(facts.model, "gpt-5.1");
    EXPECT_EQ(facts.output_bytes, 5 + 5 + 1 + 2);
    EXPECT_EQ(facts.usage.searches, 1) << "a page that was opened is no search";
    EXPECT_EQ(facts.usage.containers, 1);
    EXPECT_EQ(facts.usage.terms.tier, ServiceTier::flex);
    EXPECT_EQ(cost_of(facts.usage), kResponseCost);
}

TEST(OpenAi, ResponsesStream) {
    std::string response(kResponse);
    std::erase(response, '\n');
    const auto facts = read_stream(
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":"
        "\"resp_1\",\"model\":\"gpt-5.1\",\"service_tier\":\"auto\",\"output\":[],\"usage\":null}}"
        "\n\nevent: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","
        "\"delta\":\"Hel\"}\n\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"lo\"}\n\n"
        "data: {\"type\":\"response.output_text.done\",\"text\":\"Hello\"}\n\n"
        "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"message\",\"content\":"
        "[{\"type\":\"output_text\",\"text\":\"Hello\"}]}}\n\n"
        "data: {\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{}\"}\n\n"
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":" +
        response + "}\n\n");
    EXPECT_EQ(facts.output_bytes, 5 + 2) << "the text is counted once";
    EXPECT_EQ(facts.usage.terms.tier, ServiceTier::flex);
    EXPECT_EQ(cost_of(facts.usage), kResponseCost);
}

TEST(OpenAi, TranscriptionBySecond) {
    auto facts = read_json(R"({"text":"Imagine","usage":{"type":"duration","seconds":9}})");
    EXPECT_EQ(facts.output_bytes, 7);
    EXPECT_EQ(cost_of(facts.usage), 900'000);
    facts = read_json(R"({"task":"transcribe","language":"english","duration":8.470000267028809,
        "text":"Imagine","segments":[{"id":0,"text":" Imagine","tokens":[50364]}]})");
    EXPECT_EQ(facts.usage.duration_us, 8'470'001);
    EXPECT_EQ(cost_of(facts.usage), 847'000);
}

TEST(OpenAi, TranscriptionByToken) {
    const auto facts = read_json(R"({"text":"Imagine","usage":{"type":"tokens","input_tokens":14,
        "input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":45,
        "total_tokens":59}})");
    EXPECT_EQ(cost_of(facts.usage), 4 * 1000 + 10 * 5000 + 45 * 10'000);
}

TEST(OpenAi, TranscriptionStream) {
    const auto facts = read_stream(
        "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Ima\"}\n\n"
        "data: {\"type\":\"transcript.text.delta\",\"delta\":\"gine\"}\n\n"
        "data: {\"type\":\"transcript.text.done\",\"text\":\"Imagine\",\"usage\":{\"type\":"
        "\"tokens\",\"input_tokens\":14,\"input_token_details\":{\"text_tokens\":0,"
        "\"audio_tokens\":14},\"output_tokens\":5,\"total_tokens\":19}}\n\n");
    EXPECT_EQ(facts.output_bytes, 7);
    EXPECT_EQ(cost_of(facts.usage), 14 * 5000 + 5 * 10'000);
}

TEST(OpenAi, SpeechStream) {
    const auto facts = read_stream(
        "data: {\"type\":\"speech.audio.delta\",\"audio\":\"UklGRg==\"}\n\n"
        "data: "
        "{\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":101,"
        "\"total_tokens\":115}}\n\n");
    EXPECT_EQ(facts.output_bytes, 0);
    EXPECT_EQ(cost_of(facts.usage), 14 * 1000 + 101 * 10'000);
}

TEST(OpenAi, Images) {
    auto facts = read_json(R"({"created":1763596800,"size":"1024x1024","quality":"high","data":[
        {"b64_json":"iVBORw0KGgo="}],"usage":{"total_tokens":4310,"input_tokens":150,
        "output_tokens":4160,"input_tokens_details":{"text_tokens":50,"image_tokens":100}}})");
    EXPECT_EQ(facts.usage.images, 1);
    EXPECT_EQ(cost_of(facts.usage), 50 * 1000 + 100 * 7000 + 4160 * 40'000) << "all of it is image";
    facts = read_json(R"({"data":[{"b64_json":"x"}],"usage":{"input_tokens":1,"output_tokens":5,
        "output_tokens_details":{"image_tokens":4,"text_tokens":1}}})");
    EXPECT_EQ(cost_of(facts.usage), 1000 + 4 * 40'000 + 10'000);
    facts = read_json(R"({"created":1,"data":[{"url":"https://a.example/1.png",
        "revised_prompt":"a"},{"url":"https://a.example/2.png"}]})");
    EXPECT_EQ(cost_of(facts.usage), 80'000'000) << "by the image where no tokens are told";
}

TEST(OpenAi, OthersOfItsDialect) {
    EXPECT_EQ(cost_of(read_json(R"({"usage":{"prompt_tokens":9,"completion_tokens":1,
        "prompt_cache_hit_tokens":6,"prompt_cache_miss_tokens":3}})")
                          .usage),
              3 * 1000 + 6 * 100 + 10'000)
        << "DeepSeek";
    EXPECT_EQ(cost_of(read_json(R"({"usage":{"prompt_tokens":9,"completion_tokens":4,
        "total_tokens":20,"completion_tokens_details":{"reasoning_tokens":7},
        "server_side_tool_usage_details":{"web_search_calls":2}}})")
                          .usage),
              9 * 1000 + 4 * 10'000 + 7 * 20'000 + 2'000'000)
        << "xAI, whose completion leaves the reasoning out";
    const auto perplexity = read_json(R"({"model":"sonar-deep-research","usage":{
        "prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"search_context_size":"high",
        "citation_tokens":30,"num_search_queries":3,"reasoning_tokens":1,
        "cost":{"total_cost":0.5}}})");
    EXPECT_EQ(cost_of(perplexity.usage, R"(,"citation_cost_per_token": 2e-6)"),
              9 * 1000 + 3 * 10'000 + 20'000 + 30 * 2000 + 6'000'000);
    EXPECT_EQ(
        read_json(R"({"usage":{"prompt_tokens":1,"search_context_size":"low"}})").usage.searches,
        1);
    const auto cached = read_json(R"({"usage":{"prompt_tokens":10,"prompt_tokens_details":{
        "cached_tokens":4,"cache_creation_input_tokens":5,"cache_type":"ephemeral",
        "cache_creation":{"ephemeral_5m_input_tokens":5}}}})");
    EXPECT_EQ(cost_of(cached.usage, R"(,"explicit_cache_read_input_token_cost": 5e-8)"),
              1000 + 5 * 2000 + 4 * 50)
        << "Alibaba Cloud";
}

TEST(Anthropic, Message) {
    const auto facts = read_json(R"({"id":"msg_1","type":"message","role":"assistant",
        "model":"claude-opus-4-6","content":[{"type":"thinking","thinking":"hm","signature":"xyz"},
        {"type":"text","text":"Hello"},{"type":"tool_use","id":"toolu_1","name":"get",
        "input":{"usage":{"input_tokens":9}}}],"stop_reason":"end_turn","usage":{
        "input_tokens":100,"cache_creation_input_tokens":300,"cache_read_input_tokens":1000,
        "cache_creation":{"ephemeral_5m_input_tokens":200,"ephemeral_1h_input_tokens":100},
        "output_tokens":50,"server_tool_use":{"web_search_requests":2,"web_fetch_requests":1},
        "service_tier":"standard","inference_geo":"us","speed":"fast"}})");
    EXPECT_EQ(facts.usage.prompt_tokens, 1400);
    EXPECT_EQ(facts.output_bytes, 2 + 5 + 3);
    EXPECT_EQ(facts.usage.terms.locality, Locality::us);
    EXPECT_TRUE(facts.usage.terms.fast);
    constexpr NanoUsd kTokens = 100 * 1000 + 1000 * 100 + 200 * 2000 + 100 * 3000 + 50 * 10'000;
    EXPECT_EQ(cost_of(facts.usage), kTokens + 2'000'000);
    EXPECT_EQ(cost_of(facts.usage, R"(,"provider_specific_entry":{"us":1.1,"fast":6.0})"),
              kTokens * 66 / 10 + 2'000'000);
}

const std::string kMessageStart =
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\","
    "\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"claude-sonnet-4-5\","
    "\"usage\":{\"input_tokens\":25,\"cache_creation_input_tokens\":40,"
    "\"cache_read_input_tokens\":10,\"cache_creation\":{\"ephemeral_5m_input_tokens\":10,"
    "\"ephemeral_1h_input_tokens\":30},\"output_tokens\":1,\"service_tier\":\"batch\"}}}\n\n"
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
    "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: ping\ndata: {\"type\":\"ping\"}"
    "\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
    "{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\nevent: content_block_delta\ndata: {\"type\":"
    "\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\","
    "\"partial_json\":\"{}\"}}\n\n";

TEST(Anthropic, Stream) {
    const auto facts = read_stream(
        kMessageStart +
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
        "\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":15,\"server_tool_use\":"
        "{\"web_search_requests\":1}}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}"
        "\n\n");
    EXPECT_EQ(facts.model, "claude-sonnet-4-5");
    EXPECT_EQ(facts.output_bytes, 5 + 2);
    EXPECT_EQ(facts.usage.terms.tier, ServiceTier::batch);
    EXPECT_EQ(cost_of(facts.usage),
              (25 * 1000 + 10 * 100 + 10 * 2000 + 30 * 3000 + 15 * 10'000) / 2 + 1'000'000);
}

TEST(Anthropic, StreamWhoseLastUsageTellsAllAgain) {
    const auto facts = read_stream(
        kMessageStart +
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{"
        "\"input_tokens\":26,\"cache_creation_input_tokens\":40,\"cache_read_input_tokens\":12,"
        "\"output_tokens\":15}}\n\ndata: {\"type\":\"message_stop\"}\n\n");
    EXPECT_EQ(facts.usage.prompt_tokens, 26 + 40 + 12);
    EXPECT_EQ(facts.usage.cached_tokens, 12);
    EXPECT_EQ(facts.usage.cache_write_long_tokens, 30) << "told in the first one only";
}

TEST(Anthropic, StreamThatBreaksOffKnowsItsPromptOnly) {
    const auto facts = read_any(kMessageStart, read_stream_cut);
    EXPECT_FALSE(facts.has_usage);
    EXPECT_TRUE(facts.has_prompt);
    EXPECT_FALSE(facts.complete);
    EXPECT_EQ(facts.usage.prompt_tokens, 75);
    EXPECT_EQ(facts.output_bytes, 7);
}

TEST(Gemini, Answer) {
    const auto facts = read_json(R"({"candidates":[{"content":{"parts":[{"text":"Hello",
        "thoughtSignature":"xyz"},{"functionCall":{"name":"f","args":{}}}],"role":"model"},
        "finishReason":"STOP","groundingMetadata":{"webSearchQueries":["a","b"],
        "groundingChunks":[{"web":{"uri":"https://a.example"}}]},"index":0}],"usageMetadata":{
        "promptTokenCount":1000,"candidatesTokenCount":60,"totalTokenCount":1290,
        "cachedContentTokenCount":400,"promptTokensDetails":[{"modality":"TEXT","tokenCount":500},
        {"modality":"IMAGE","tokenCount":258},{"tokenCount":242,"modality":"AUDIO"}],
        "cacheTokensDetails":[{"modality":"TEXT","tokenCount":300},
        {"modality":"AUDIO","tokenCount":100}],"candidatesTokensDetails":[
        {"modality":"TEXT","tokenCount":20},{"modality":"IMAGE","tokenCount":40}],
        "thoughtsTokenCount":200,"toolUsePromptTokenCount":30,"toolUsePromptTokensDetails":[
        {"modality":"TEXT","tokenCount":30}],"trafficType":"ON_DEMAND_PRIORITY"},
        "modelVersion":"gemini-3-pro","responseId":"r"})");
    EXPECT_EQ(facts.model, "gemini-3-pro");
    EXPECT_EQ(facts.output_bytes, 5 + 1);
    EXPECT_EQ(facts.usage.prompt_tokens, 1030);
    EXPECT_EQ(facts.usage.completion_tokens, 260);
    EXPECT_EQ(facts.usage.terms.tier, ServiceTier::priority);
    EXPECT_EQ(facts.usage.searches, 2);
    constexpr NanoUsd kTokens = (1030 - 400 - 258 - 142) * 1000 + 258 * 7000 + 142 * 5000 +
                                400 * 100 + 20 * 10'000 + 40 * 40'000 + 200 * 20'000;
    EXPECT_EQ(cost_of(facts.usage), kTokens + 2'000'000);
}

TEST(Gemini, Stream) {
    const auto chunk = [](const std::string& text, const std::string& more, int candidates) {
        return "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"" + text +
               "\"}],\"role\":\"model\"},\"index\":0" + more +
               "}],\"usageMetadata\":{\"promptTokenCount\":8,\"candidatesTokenCount\":" +
               std::to_string(candidates) +
               ",\"totalTokenCount\":" + std::to_string(8 + candidates + 20) +
               ",\"promptTokensDetails\":[{\"modality\":\"AUDIO\",\"tokenCount\":8}],"
               "\"thoughtsTokenCount\":20},\"modelVersion\":\"gemini-2.5-flash\"}\r\n\r\n";
    };
    const auto facts = read_stream(chunk("Hel", "", 1) + chunk("lo", "", 2) +
                                   chunk("",
                                         ",\"finishReason\":\"STOP\",\"groundingMetadata\":{"
                                         "\"webSearchQueries\":[\"a\"]}",
                                         3));
    EXPECT_EQ(facts.output_bytes, 5);
    EXPECT_EQ(facts.usage.audio_prompt_tokens, 8) << "each chunk tells it again";
    EXPECT_EQ(cost_of(facts.usage), 8 * 5000 + 3 * 10'000 + 20 * 20'000 + 1'000'000);
}

TEST(ServiceTier, HasManyNames) {
    for (const auto& [name, tier] :
         {std::pair("default", ServiceTier::standard), std::pair("standard", ServiceTier::standard),
          std::pair("ON_DEMAND", ServiceTier::standard), std::pair("flex", ServiceTier::flex),
          std::pair("FLEX", ServiceTier::flex), std::pair("fast", ServiceTier::priority),
          std::pair("Priority", ServiceTier::priority), std::pair("batch", ServiceTier::batch)}) {
        EXPECT_EQ(parse_service_tier(name), tier) << name;
    }
    for (const char* none : {"auto", "", "prioritys", "x"}) {
        EXPECT_EQ(parse_service_tier(none), std::nullopt) << none;
    }
}

}  // namespace
}  // namespace llm
