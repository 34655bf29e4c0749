#include "llm/prices.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>

namespace llm {
namespace {

constexpr AttoUsd kPico = 1'000'000;
constexpr ServiceTier kStandard = ServiceTier::standard;

PriceTable parse_ok(std::string_view json) {
    auto table = PriceTable::parse(json);
    EXPECT_TRUE(table) << (table ? "" : table.error());
    return table ? *table : PriceTable();
}

std::string parse_error(std::string_view json) {
    const auto table = PriceTable::parse(json);
    return table ? "(no error)" : table.error();
}

std::string priced(const std::string& text) {
    return R"({"m":{"input_cost_per_token":)" + text + R"(,"output_cost_per_token":0}})";
}

ModelPrice model(const std::string& fields) {
    const auto table = parse_ok(R"({"m":{)" + fields + "}}");
    const ModelPrice* price = table.find("m");
    EXPECT_NE(price, nullptr) << fields;
    return price != nullptr ? *price : ModelPrice();
}

AttoUsd rate(const ModelPrice& price, Rate which, ServiceTier tier = kStandard,
             int64_t prompt = 0) {
    return price.rates(tier, prompt)[which];
}

AttoUsd input_rate(const std::string& text) {
    const auto table = parse_ok(priced(text));
    const ModelPrice* price = table.find("m");
    return price != nullptr ? rate(*price, Rate::input) : -1;
}

TEST(Prices, ConvertsDecimalTextExactly) {
    EXPECT_EQ(input_rate("1.5e-07"), 150'000 * kPico);
    EXPECT_EQ(input_rate("0.00000015"), 150'000 * kPico);
    EXPECT_EQ(input_rate("150E-9"), 150'000 * kPico);
    EXPECT_EQ(input_rate("0.015e-5"), 150'000 * kPico);
    EXPECT_EQ(input_rate("0"), 0);
    EXPECT_EQ(input_rate("-0.0"), 0);
    EXPECT_EQ(input_rate("0e99999"), 0);
    EXPECT_EQ(input_rate("1"), kMaxTokenRate);
    EXPECT_EQ(input_rate("1e-18"), 1);
    EXPECT_EQ(input_rate(R"("2.5e-06")"), 2'500'000 * kPico);
}

TEST(Prices, RoundsWhatIsFinerThanAnAttoUsdUp) {
    EXPECT_EQ(input_rate("1e-19"), 1);
    EXPECT_EQ(input_rate("1e-99999"), 1);
    EXPECT_EQ(input_rate("2.0000000000000002e-07"), 200'000 * kPico + 1);
    EXPECT_EQ(input_rate("2.00000e-07"), 200'000 * kPico);
}

TEST(Prices, EveryWholeRateSurvivesEveryNotation) {
    std::mt19937_64 random(1);
    for (int i = 0; i < 2000; ++i) {
        const auto atto = static_cast<int64_t>(random() % 1'000'000'000'000'000'000);
        EXPECT_EQ(input_rate(std::to_string(atto) + "e-18"), atto);
        std::string fraction = std::to_string(atto);
        fraction.insert(0, 18 - fraction.size(), '0');
        EXPECT_EQ(input_rate("0." + fraction), atto);
        EXPECT_EQ(input_rate(fraction.substr(0, 1) + "." + fraction.substr(1) + "e-1"), atto);
    }
}

TEST(Prices, ReadsAnEntry) {
    const auto table = parse_ok(R"({
        "sample_spec": {"input_cost_per_token": "text", "max_tokens": "set it", "x": {"y": [1]},
            "search_context_cost_per_query": {"search_context_size_low": "text"}},
        "claude": {
            "cache_creation_input_token_cost": 3.75e-06, "cache_read_input_token_cost": 3e-07,
            "cache_creation_input_token_cost_above_1hr": 6e-06,
            "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
            "max_output_tokens": 64000, "max_tokens": 1, "mode": "chat",
            "nested": {"input_cost_per_token": -1, "list": [{"output_cost_per_token": 9}]}
        },
        "plain": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
        "nothing": {"mode": "chat", "max_tokens": 5},
        "embed": {"input_cost_per_token": 2e-08, "max_tokens": 8191, "mode": "embedding"}
    })");
    EXPECT_EQ(table.size(), 3u);
    EXPECT_EQ(table.find("sample_spec"), nullptr);
    EXPECT_EQ(table.find("nothing"), nullptr);
    EXPECT_EQ(table.find("Claude"), nullptr);
    EXPECT_EQ(table.find(""), nullptr);

    const ModelPrice* claude = table.find("claude");
    ASSERT_NE(claude, nullptr);
    EXPECT_EQ(rate(*claude, Rate::input), 3'000'000 * kPico);
    EXPECT_EQ(rate(*claude, Rate::output), 15'000'000 * kPico);
    EXPECT_EQ(rate(*claude, Rate::cache_read), 300'000 * kPico);
    EXPECT_EQ(rate(*claude, Rate::cache_write), 3'750'000 * kPico);
    EXPECT_EQ(rate(*claude, Rate::cache_write_long), 6'000'000 * kPico);
    EXPECT_EQ(claude->max_output_tokens, 64000);
    EXPECT_EQ(claude->cards().size(), 1u);

    const ModelPrice* plain = table.find("plain");
    ASSERT_NE(plain, nullptr);
    for (const Rate side : {Rate::cache_read, Rate::cache_write, Rate::cache_write_long,
                            Rate::audio_input, Rate::image_input, Rate::video_input}) {
        EXPECT_EQ(rate(*plain, side), rate(*plain, Rate::input));
    }
    for (const Rate side : {Rate::reasoning, Rate::audio_output, Rate::image_output}) {
        EXPECT_EQ(rate(*plain, side), rate(*plain, Rate::output));
    }
    EXPECT_EQ(plain->max_output_tokens, 0);
    EXPECT_FALSE(plain->is_free());

    ASSERT_NE(table.find("embed"), nullptr);
    EXPECT_EQ(rate(*table.find("embed"), Rate::output), 0);
    EXPECT_EQ(table.find("embed")->max_output_tokens, 0) << "max_tokens of an embedding is input";
}

TEST(Prices, ReadsPricesOfOtherUnits) {
    const ModelPrice price = model(R"("output_cost_per_image": 0.04, "input_cost_per_pixel": 0,
        "input_cost_per_character": 1.5e-05, "input_cost_per_second": 0.0001,
        "file_search_cost_per_1k_calls": 2.5, "input_cost_per_request": 0.005,
        "search_context_cost_per_query": {"search_context_size_low": 0.01,
            "search_context_size_medium": 0.02, "search_context_size_high": "0.03"})");
    const UnitRates& units = price.units();
    EXPECT_EQ(units[Rate::output_image], kOneUsd / 25);
    EXPECT_TRUE(units.has(Rate::input_pixel));
    EXPECT_EQ(units[Rate::input_pixel], 0);
    EXPECT_FALSE(units.has(Rate::input_image));
    EXPECT_EQ(units[Rate::input_character], 15'000'000 * kPico);
    EXPECT_EQ(units[Rate::input_second], kOneUsd / 10'000);
    EXPECT_EQ(units[Rate::file_search], kOneUsd / 400);
    EXPECT_EQ(units[Rate::request], kOneUsd / 200);
    EXPECT_EQ(units[Rate::search_low], kOneUsd / 100);
    EXPECT_EQ(units[Rate::search_high], kOneUsd / 100 * 3);
    EXPECT_FALSE(price.is_free());
}

TEST(Prices, ReadsThresholds) {
    const ModelPrice price = model(R"("input_cost_per_token": 1e-6, "output_cost_per_token": 5e-6,
        "input_cost_per_token_above_200k_tokens": 2e-6, "cache_read_input_token_cost": 1e-7,
        "output_cost_per_token_above_512_tokens": 6e-6,
        "cache_creation_input_token_cost_above_1hr": 3e-6,
        "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 4e-6)");
    EXPECT_EQ(price.cards().size(), 3u);
    EXPECT_EQ(rate(price, Rate::output, kStandard, 512), 5'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::output, kStandard, 513), 6'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::input, kStandard, 200'000), 1'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::input, kStandard, 200'001), 2'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::output, kStandard, 200'001), 6'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::cache_read, kStandard, 200'001), 100'000 * kPico);
    EXPECT_EQ(rate(price, Rate::cache_write, kStandard, 200'001), 2'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::cache_write_long, kStandard, 200'000), 3'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::cache_write_long, kStandard, 200'001), 4'000'000 * kPico);
}

TEST(Prices, XaiCountsTheThresholdItselfAsAboveIt) {
    const std::string fields = R"("input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6,
        "input_cost_per_token_above_200k_tokens": 2e-6)";
    EXPECT_EQ(rate(model(fields + R"(,"litellm_provider":"xai")"), Rate::input, kStandard, 200'000),
              2'000'000 * kPico);
    EXPECT_EQ(rate(model(fields), Rate::input, kStandard, 200'000), 1'000'000 * kPico);
}

TEST(Prices, ReadsTiers) {
    const ModelPrice price = model(R"("input_cost_per_token": 2e-6, "output_cost_per_token": 8e-6,
        "input_cost_per_token_priority": 4e-6, "input_cost_per_token_flex": 1e-6,
        "input_cost_per_token_above_272k_tokens": 3e-6,
        "input_cost_per_token_above_272k_tokens_priority": 5e-6,
        "input_cost_per_audio_token": 2e-6, "input_cost_per_image_token": 7e-6,
        "input_cost_per_image_token_priority": 9e-6)");
    const auto priority = ServiceTier::priority;
    EXPECT_EQ(rate(price, Rate::input, priority, 1), 4'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::output, priority, 1), 8'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::input, priority, 272'001), 5'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::input, ServiceTier::flex, 272'001), 3'000'000 * kPico)
        << "what a tier does not list above a threshold is the standard price there";
    EXPECT_EQ(rate(price, Rate::input, ServiceTier::balanced, 1), 2'000'000 * kPico)
        << "no such tier: the standard one";
    EXPECT_EQ(rate(price, Rate::audio_input, priority, 1), 4'000'000 * kPico)
        << "audio costs what text does";
    EXPECT_EQ(rate(price, Rate::image_input, priority, 1), 9'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::image_input, ServiceTier::flex, 1), 7'000'000 * kPico);
}

TEST(Prices, ReasoningHasAPriceOfItsOwnWhereNoTierHasOne) {
    const ModelPrice price = model(R"("input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6,
        "output_cost_per_reasoning_token": 3e-6, "output_cost_per_token_flex": 1e-6,
        "input_cost_per_token_priority": 2e-6)");
    EXPECT_EQ(rate(price, Rate::reasoning), 3'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::reasoning, ServiceTier::flex), 1'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::reasoning, ServiceTier::priority), 3'000'000 * kPico);
}

TEST(Prices, ResolvesABatch) {
    const ModelPrice price = model(R"("input_cost_per_token": 2e-6, "output_cost_per_token": 8e-6,
        "input_cost_per_token_batches": 9e-7, "cache_read_input_token_cost": 5e-7,
        "cache_creation_input_token_cost": 2.5e-6, "cache_creation_input_token_cost_batches": 1e-6,
        "cache_creation_input_token_cost_above_1hr": 4e-6,
        "input_cost_per_token_above_200k_tokens": 4e-6,
        "output_cost_per_image_token": 3e-5, "input_cost_per_audio_token": 9e-6)");
    const auto batch = ServiceTier::batch;
    EXPECT_EQ(rate(price, Rate::input, batch), 900'000 * kPico);
    EXPECT_EQ(rate(price, Rate::output, batch), 4'000'000 * kPico) << "half, where none is listed";
    EXPECT_EQ(rate(price, Rate::cache_read, batch), 900'000 * kPico) << "no discount is listed";
    EXPECT_EQ(rate(price, Rate::cache_write, batch), 1'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::cache_write_long, batch), 2'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::audio_input, batch), 4'500'000 * kPico);
    EXPECT_EQ(rate(price, Rate::image_output, batch), 15'000'000 * kPico);
    EXPECT_EQ(rate(price, Rate::input, batch, 200'001), 2'000'000 * kPico)
        << "half of the price above the threshold";
}

TEST(Prices, ReadsRanges) {
    const ModelPrice price = model(R"("output_cost_per_token": 9e-6, "tiered_pricing": [
        {"range": [256000.0, 1e6], "input_cost_per_token": 2.5e-7, "output_cost_per_token": 2e-6},
        {"input_cost_per_token": 5e-8, "output_cost_per_token": 4e-7, "range": [0, 256000.0],
         "output_cost_per_reasoning_token": 8e-7, "unknown": "x", "deep": [1]},
        {"input_cost_per_query": 1, "max_results_range": [0, 5]}])");
    EXPECT_EQ(rate(price, Rate::input, kStandard, 1), 50'000 * kPico);
    EXPECT_EQ(rate(price, Rate::input, kStandard, 256'000), 50'000 * kPico);
    EXPECT_EQ(rate(price, Rate::input, kStandard, 256'001), 250'000 * kPico);
    EXPECT_EQ(rate(price, Rate::input, kStandard, 2'000'000), 250'000 * kPico);
    EXPECT_EQ(rate(price, Rate::output, kStandard, 1), 400'000 * kPico);
    EXPECT_EQ(rate(price, Rate::reasoning, kStandard, 1), 800'000 * kPico);
}

TEST(Prices, KnowsWhatProvidersBillUnlisted) {
    const auto table = parse_ok(R"({
        "gpt": {"input_cost_per_token": 1e-6, "litellm_provider": "openai"},
        "az": {"input_cost_per_token": 1e-6, "litellm_provider": "azure"},
        "openai/container": {"code_interpreter_cost_per_session": 0.03,
                             "litellm_provider": "openai"},
        "fw": {"input_cost_per_token": 1e-6, "litellm_provider": "fireworks_ai"},
        "grok": {"input_cost_per_token": 1e-6, "litellm_provider": "xai"},
        "gemini/x": {"input_cost_per_token": 1e-6, "litellm_provider": "gemini"},
        "picture": {"input_cost_per_token": 1e-6, "output_cost_per_image_token": 4e-5}})");
    EXPECT_EQ(table.find("gpt")->units()[Rate::file_search], kOneUsd / 400);
    EXPECT_EQ(table.find("gpt")->units()[Rate::container], kOneUsd / 100 * 3);
    EXPECT_FALSE(table.find("az")->units().has(Rate::container));
    EXPECT_EQ(rate(*table.find("fw"), Rate::cache_read), 500'000 * kPico);
    EXPECT_EQ(table.find("grok")->units()[Rate::search_medium], kOneUsd / 200);
    EXPECT_EQ(table.find("gemini/x")->units()[Rate::search_medium], kOneUsd / 1000 * 35);
    EXPECT_EQ(rate(*table.find("picture"), Rate::output), 40'000'000 * kPico);
}

int64_t max_output(const std::string& fields) {
    return model(R"("input_cost_per_token":1,)" + fields).max_output_tokens;
}

TEST(Prices, TellsTheMostOutput) {
    EXPECT_EQ(max_output(R"("max_output_tokens": 4096, "max_tokens": 9, "mode": "chat")"), 4096);
    EXPECT_EQ(max_output(R"("max_tokens": 8192, "mode": "chat")"), 8192);
    EXPECT_EQ(max_output(R"("mode": "completion", "max_tokens": "4097")"), 4097);
    EXPECT_EQ(max_output(R"("max_tokens": 8192, "mode": "embedding")"), 0);
    EXPECT_EQ(max_output(R"("max_tokens": 8192)"), 0);
    EXPECT_EQ(max_output(R"("max_output_tokens": "as specified")"), 0);
    EXPECT_EQ(max_output(R"("max_output_tokens": null)"), 0);
    EXPECT_EQ(max_output(R"("max_output_tokens": -5)"), 0);
    EXPECT_EQ(max_output(R"("max_output_tokens": [7])"), 0);
}

TEST(Prices, TellsModelsThatReason) {
    const auto reasons = [](const std::string& fields) {
        return model(R"("input_cost_per_token":1)" + fields).reasons;
    };
    EXPECT_TRUE(reasons(R"(,"supports_reasoning": true)"));
    EXPECT_FALSE(reasons(R"(,"supports_reasoning": false)"));
    EXPECT_FALSE(reasons(R"(,"supports_reasoning": null)"));
    EXPECT_FALSE(reasons(""));
}

TEST(Prices, ForgetsFieldsOfTheModelBefore) {
    const auto table = parse_ok(R"({
        "a": {"input_cost_per_token": 1, "max_output_tokens": 5, "cache_read_input_token_cost": 0,
              "litellm_provider": "fireworks_ai", "provider_specific_entry": {"us": 2}},
        "b": {"output_cost_per_token": 1}, "c": {}})");
    const ModelPrice* b = table.find("b");
    ASSERT_NE(b, nullptr);
    EXPECT_EQ(rate(*b, Rate::input), 0);
    EXPECT_EQ(b->max_output_tokens, 0);
    Usage usage;
    usage.completion_tokens = 1;
    usage.terms.locality = Locality::us;
    EXPECT_EQ(b->cost(usage).total(), 1'000'000'000);
    EXPECT_EQ(table.find("c"), nullptr);
}

TEST(Prices, NamesTheModelAndLineOfAWrongPrice) {
    EXPECT_EQ(parse_error("{\n\"gpt\": {\n\"input_cost_per_token\": -1e-06}}"),
              "line 3: model \"gpt\": input_cost_per_token is negative");
    EXPECT_EQ(parse_error(R"({"m":{"output_cost_per_token":"cheap"}})"),
              "line 1: model \"m\": output_cost_per_token is not a number");
    EXPECT_EQ(parse_error(priced("1.0000001")),
              "line 1: model \"m\": input_cost_per_token is above 1 USD per token");
    EXPECT_EQ(parse_error(R"({"m":{"output_cost_per_image":9.1}})"),
              "line 1: model \"m\": output_cost_per_image is above 9 USD");
    for (const char* wrong : {"null", "true", "[1]", "{}", "\"\"", "\"1.\"", "\"-1\"", "\" 1\"",
                              "\"1e\"", "\"0x1\"", "\"1 USD\"", "\"nan\"", "1e99999"}) {
        EXPECT_TRUE(parse_error(priced(wrong)).starts_with("line 1: model \"m\": input_cost"))
            << wrong;
    }
    for (const char* wrong :
         {R"("input_cost_per_token_above_200k_tokens_priority": -1)",
          R"("cache_creation_input_token_cost_above_1hr": "x")",
          R"("tiered_pricing": [{"range": [0, 5], "input_cost_per_token": null}])",
          R"("tiered_pricing": [{"range": [0, "many"]}])", R"("tiered_pricing": [{"range": [-1]}])",
          R"("search_context_cost_per_query": {"search_context_size_low": []})",
          R"("off_peak_pricing": {"output_cost_per_token": -2})",
          R"("provider_specific_entry": {"us": "dear"})",
          R"("regional_endpoint_uplift_multiplier": 101)"}) {
        EXPECT_TRUE(parse_error("{\"m\":{\n" + std::string(wrong) + "}}")
                        .starts_with("line 2: model \"m\": "))
            << wrong;
    }
}

TEST(Prices, RefusesAMalformedFile) {
    EXPECT_EQ(parse_error(""), "line 1: parse error: premature EOF");
    EXPECT_EQ(parse_error("{\n\"m\": {\n"), "line 3: parse error: premature EOF");
    EXPECT_TRUE(parse_error("{\n\n\"m\": oops}").starts_with("line 3: lexical error"));
    EXPECT_TRUE(parse_error("{}\n{}").starts_with("line 2: parse error")) << parse_error("{}\n{}");
    EXPECT_EQ(parse_error("[]"), "line 1: an object is expected");
    EXPECT_EQ(parse_error("7 "), "line 1: an object is expected");
    EXPECT_EQ(parse_error(R"({"m": 7})"), "line 1: model \"m\": an object is expected");
    EXPECT_EQ(parse_error(R"({"m": [{"input_cost_per_token":1}]})"),
              "line 1: model \"m\": an object is expected");
}

TEST(Prices, VersionIsTheFilesHash) {
    // printf '{}' | sha256sum
    EXPECT_EQ(parse_ok("{}").version(), "44136fa355b3");
    EXPECT_NE(parse_ok("{} ").version(), parse_ok("{}").version());
}

TEST(Prices, ReadsTheShippedFile) {
    std::ifstream file("conf/model_prices.json");
    ASSERT_TRUE(file) << "run from the root of the repository";
    std::stringstream text;
    text << file.rdbuf();
    const auto table = parse_ok(text.str());
    EXPECT_GT(table.size(), 4000u);
    const ModelPrice* mini = table.find("gpt-4o-mini");
    ASSERT_NE(mini, nullptr);
    EXPECT_EQ(rate(*mini, Rate::input), 150'000 * kPico);
    EXPECT_EQ(rate(*mini, Rate::output), 600'000 * kPico);
    EXPECT_EQ(rate(*mini, Rate::cache_read), 75'000 * kPico);
    EXPECT_EQ(mini->max_output_tokens, 16384);
    ASSERT_NE(table.find("text-embedding-3-small"), nullptr);
    EXPECT_EQ(rate(*table.find("text-embedding-3-small"), Rate::input), 20'000 * kPico);
    ASSERT_NE(table.find("claude-sonnet-4-5"), nullptr);
    EXPECT_EQ(rate(*table.find("claude-sonnet-4-5"), Rate::cache_write), 3'750'000 * kPico);
    ASSERT_NE(table.find("whisper-1"), nullptr);
    EXPECT_EQ(table.find("whisper-1")->units()[Rate::input_second], kOneUsd / 10'000);
}

}  // namespace
}  // namespace llm
