#include "llm/cost_query.hpp"

#include <gtest/gtest.h>

namespace llm {
namespace {

CostQuery read_ok(std::string_view json) {
    auto query = read_cost_query(json);
    EXPECT_TRUE(query) << (query ? "" : query.error());
    return query ? *query : CostQuery();
}

std::string error_of(std::string_view json) {
    const auto query = read_cost_query(json);
    return query ? "(no error)" : query.error();
}

TEST(CostQuery, ReadsCounts) {
    const CostQuery query = read_ok(R"({"model":"gpt-5","input_tokens":1000,"output_tokens":50,
        "cache_read_input_tokens":600,"cache_creation_input_tokens":300,"reasoning_tokens":20,
        "service_tier":"flex","num_requests_per_day":7})");
    Usage usage;
    usage.prompt_tokens = 1000;
    usage.completion_tokens = 50;
    usage.cached_tokens = 600;
    usage.cache_write_tokens = 300;
    usage.reasoning_tokens = 20;
    usage.terms.tier = ServiceTier::flex;
    EXPECT_EQ(query.model, "gpt-5");
    EXPECT_EQ(query.usage, usage);
    EXPECT_EQ(
        read_ok(R"({"model":"m","prompt_tokens":3,"completion_tokens":2})").usage.total_tokens(),
        5);
    EXPECT_EQ(read_ok(R"({"model":"m","characters":3})").usage.characters, 3);
    EXPECT_EQ(read_ok(R"({"model":"m","images":2,"pixels":9})").usage.image_pixels, 9);
    EXPECT_EQ(read_ok(R"({"model":"m","seconds":1.5})").usage.duration_us, 1'500'000);
    EXPECT_EQ(read_ok(R"({"model":"m"})").usage, Usage());
}

TEST(CostQuery, ReadsAResponse) {
    const std::string usage = R"("model":"gpt-4o","service_tier":"priority","usage":{
        "prompt_tokens":9,"completion_tokens":12,"prompt_tokens_details":{"cached_tokens":4}})";
    for (const std::string& json :
         {"{" + usage + "}", "{\"completion_response\":{" + usage + "}}"}) {
        const CostQuery query = read_ok(json);
        EXPECT_EQ(query.model, "gpt-4o");
        EXPECT_EQ(query.usage.prompt_tokens, 9);
        EXPECT_EQ(query.usage.cached_tokens, 4);
        EXPECT_EQ(query.usage.terms.tier, ServiceTier::priority);
    }
    EXPECT_EQ(read_ok(R"({"model":"claude","usage":{"input_tokens":1,
        "cache_read_input_tokens":5,"output_tokens":2}})")
                  .usage.prompt_tokens,
              6);
}

TEST(CostQuery, RefusesNonsense) {
    EXPECT_EQ(error_of(""), "not a JSON object");
    EXPECT_EQ(error_of("[]"), "not a JSON object");
    EXPECT_EQ(error_of(R"({"model":"m",)"), "not a JSON object");
    EXPECT_EQ(error_of("{\"a\":" + std::string(100'000, '[')), "not a JSON object");
    EXPECT_EQ(error_of("{}"), "model is missing");
    EXPECT_EQ(error_of(R"({"model":"m","usage":{"prompt_tokens":-1}})"), "usage is malformed");
    for (const char* wrong : {"-1", "1.5", "\"7\"", "null", "[1]", "1000000000001", "1e99"}) {
        EXPECT_EQ(error_of(R"({"model":"m","input_tokens":)" + std::string(wrong) + "}"),
                  "input_tokens is not a count")
            << wrong;
    }
    EXPECT_EQ(error_of(R"({"model":"m","input_tokens":5,"cache_read_input_tokens":3,
        "cache_creation_input_tokens":3})"),
              "more tokens are cached than there are in the prompt");
    EXPECT_EQ(error_of(R"({"model":"m","output_tokens":5,"reasoning_tokens":6})"),
              "there is more reasoning than output");
}

}  // namespace
}  // namespace llm
