#include "llm/prices.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>

namespace llm {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

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

PicoUsd input_rate(const std::string& text) {
    const auto table = parse_ok(priced(text));
    const ModelPrice* price = table.find("m");
    return price != nullptr ? price->input : -1;
}

TEST(Prices, ConvertsDecimalTextExactly) {
    EXPECT_EQ(input_rate("1.5e-07"), 150'000);
    EXPECT_EQ(input_rate("0.00000015"), 150'000);
    EXPECT_EQ(input_rate("150E-9"), 150'000);
    EXPECT_EQ(input_rate("0.015e-5"), 150'000);
    EXPECT_EQ(input_rate("6e-07"), 600'000);
    EXPECT_EQ(input_rate("0"), 0);
    EXPECT_EQ(input_rate("-0.0"), 0);
    EXPECT_EQ(input_rate("0e99999"), 0);
    EXPECT_EQ(input_rate("1"), ModelPrice::kMaxRate);
    EXPECT_EQ(input_rate("1e-12"), 1);
    EXPECT_EQ(input_rate(R"("2.5e-06")"), 2'500'000);
}

TEST(Prices, RoundsWhatIsFinerThanAPicoUsdUp) {
    EXPECT_EQ(input_rate("1e-13"), 1);
    EXPECT_EQ(input_rate("1e-99999"), 1);
    EXPECT_EQ(input_rate("2.0000000000000002e-07"), 200'001);
    EXPECT_EQ(input_rate("1.999999999999e-07"), 200'000);
    EXPECT_EQ(input_rate("2.00000e-07"), 200'000);
}

TEST(Prices, EveryWholePicoRateSurvivesEveryNotation) {
    std::mt19937_64 random(1);
    for (int i = 0; i < 2000; ++i) {
        const auto pico = static_cast<int64_t>(random() % 1'000'000'000'000);
        EXPECT_EQ(input_rate(std::to_string(pico) + "e-12"), pico);
        std::string fraction = std::to_string(pico);
        fraction.insert(0, 12 - fraction.size(), '0');
        EXPECT_EQ(input_rate("0." + fraction), pico);
        EXPECT_EQ(input_rate(fraction.substr(0, 1) + "." + fraction.substr(1) + "e-1"), pico);
    }
}

TEST(Prices, ReadsAnEntry) {
    const auto table = parse_ok(R"({
        "sample_spec": {"input_cost_per_token": "text", "max_tokens": "set it", "x": {"y": [1]}},
        "claude": {
            "cache_creation_input_token_cost": 3.75e-06, "cache_read_input_token_cost": 3e-07,
            "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
            "max_output_tokens": 64000, "max_tokens": 1, "mode": "chat",
            "nested": {"input_cost_per_token": -1, "list": [{"output_cost_per_token": 9}]}
        },
        "plain": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
        "image": {"input_cost_per_image": 0.04, "mode": "image_generation"},
        "embed": {"input_cost_per_token": 2e-08, "max_tokens": 8191, "mode": "embedding"}
    })");
    EXPECT_EQ(table.size(), 3u);
    EXPECT_EQ(table.find("sample_spec"), nullptr);
    EXPECT_EQ(table.find("image"), nullptr);
    EXPECT_EQ(table.find("Claude"), nullptr);
    EXPECT_EQ(table.find(""), nullptr);

    const ModelPrice* claude = table.find("claude");
    ASSERT_NE(claude, nullptr);
    EXPECT_EQ(claude->input, 3'000'000);
    EXPECT_EQ(claude->output, 15'000'000);
    EXPECT_EQ(claude->cache_read, 300'000);
    EXPECT_EQ(claude->cache_write, 3'750'000);
    EXPECT_EQ(claude->max_output_tokens, 64000);

    const ModelPrice* plain = table.find("plain");
    ASSERT_NE(plain, nullptr);
    EXPECT_EQ(plain->cache_read, plain->input);
    EXPECT_EQ(plain->cache_write, plain->input);
    EXPECT_EQ(plain->max_output_tokens, 0);
    EXPECT_FALSE(plain->is_free());

    ASSERT_NE(table.find("embed"), nullptr);
    EXPECT_EQ(table.find("embed")->output, 0);
    EXPECT_EQ(table.find("embed")->max_output_tokens, 0) << "max_tokens of an embedding is input";
}

int64_t max_output(const std::string& fields) {
    const auto table = parse_ok(R"({"m":{"input_cost_per_token":1,)" + fields + "}}");
    return table.find("m") != nullptr ? table.find("m")->max_output_tokens : -1;
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

TEST(Prices, ForgetsFieldsOfTheModelBefore) {
    const auto table = parse_ok(R"({
        "a": {"input_cost_per_token": 1, "max_output_tokens": 5, "cache_read_input_token_cost": 0},
        "b": {"output_cost_per_token": 1}, "c": {}})");
    ASSERT_NE(table.find("b"), nullptr);
    EXPECT_EQ(table.find("b")->input, 0);
    EXPECT_EQ(table.find("b")->max_output_tokens, 0);
    EXPECT_EQ(table.find("c"), nullptr);
}

TEST(Prices, NamesTheModelAndLineOfAWrongPrice) {
    EXPECT_EQ(parse_error("{\n\"gpt\": {\n\"input_cost_per_token\": -1e-06}}"),
              "line 3: model \"gpt\": input_cost_per_token is negative");
    EXPECT_EQ(parse_error(R"({"m":{"output_cost_per_token":"cheap"}})"),
              "line 1: model \"m\": output_cost_per_token is not a number");
    EXPECT_EQ(parse_error(priced("1.0000001")),
              "line 1: model \"m\": input_cost_per_token is above 1 USD per token");
    for (const char* wrong : {"null", "true", "[1]", "{}", "\"\"", "\"1.\"", "\"-1\"", "\" 1\"",
                              "\"1e\"", "\"0x1\"", "\"1 USD\"", "\"nan\"", "1e99999"}) {
        EXPECT_TRUE(parse_error(priced(wrong)).starts_with("line 1: model \"m\": input_cost"))
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
    EXPECT_GT(table.size(), 100u);
    const ModelPrice* mini = table.find("gpt-4o-mini");
    ASSERT_NE(mini, nullptr);
    EXPECT_EQ(mini->input, 150'000);
    EXPECT_EQ(mini->output, 600'000);
    EXPECT_EQ(mini->cache_read, 75'000);
    EXPECT_EQ(mini->max_output_tokens, 16384);
    ASSERT_NE(table.find("text-embedding-3-small"), nullptr);
    EXPECT_EQ(table.find("text-embedding-3-small")->input, 20'000);
    ASSERT_NE(table.find("claude-sonnet-4-5"), nullptr);
    EXPECT_EQ(table.find("claude-sonnet-4-5")->cache_write, 3'750'000);
}

Usage usage_of(int64_t prompt, int64_t completion, int64_t cached = 0, int64_t written = 0) {
    Usage usage;
    usage.prompt_tokens = prompt;
    usage.completion_tokens = completion;
    usage.cached_tokens = cached;
    usage.cache_write_tokens = written;
    return usage;
}

constexpr ModelPrice kClaude = {.input = 3'000'000,
                                .output = 15'000'000,
                                .cache_read = 300'000,
                                .cache_write = 3'750'000,
                                .max_output_tokens = 0};

TEST(Cost, ChargesEachTokenOnce) {
    const Cost cost = kClaude.cost(usage_of(1000, 10, 600, 300));
    EXPECT_EQ(cost.input, 100 * 3000);
    EXPECT_EQ(cost.cached, 600 * 300 + 300 * 3750);
    EXPECT_EQ(cost.output, 10 * 15000);
    EXPECT_EQ(cost.total(), cost.input + cost.cached + cost.output);
    EXPECT_EQ(kClaude.cost(Usage()).total(), 0);
}

TEST(Cost, RoundsEachPartUpToANano) {
    const ModelPrice price = {
        .input = 1, .output = 1001, .cache_read = 999, .cache_write = 1, .max_output_tokens = 0};
    const Cost cost = price.cost(usage_of(3, 1, 1, 1));
    EXPECT_EQ(cost.input, 1);
    EXPECT_EQ(cost.cached, 1) << "999 + 1 pico are one nano";
    EXPECT_EQ(cost.output, 2);
}

TEST(Cost, ClampsNonsense) {
    EXPECT_EQ(kClaude.cost(usage_of(10, 0, 50)).total(), 10 * 300);
    EXPECT_EQ(kClaude.cost(usage_of(10, 0, 4, 50)).total(), 4 * 300 + 6 * 3750);
    EXPECT_EQ(kClaude.cost(usage_of(-10, -5, -3, -1)).total(), 0);
    EXPECT_EQ(kClaude.cost(usage_of(10, 0, -3, -1)).total(), 10 * 3000);
    const Cost most = kClaude.cost(usage_of(kMax, kMax, kMax / 2, kMax / 2));
    EXPECT_GT(most.total(), kMax / 2) << "saturated, not wrapped";
    EXPECT_LE(most.total(), kClaude.upper_bound(kMax, kMax));
}

TEST(Cost, BoundIsExactForWholeNanoRates) {
    const ModelPrice mini = {.input = 150'000,
                             .output = 600'000,
                             .cache_read = 75'000,
                             .cache_write = 150'000,
                             .max_output_tokens = 0};
    EXPECT_EQ(mini.upper_bound(1000, 500), mini.cost(usage_of(1000, 500)).total());
    EXPECT_EQ(kClaude.upper_bound(1000, 0), 1000 * 3750) << "all of it may be a cache write";
    EXPECT_EQ(mini.upper_bound(-1, -1), 0);
}

TEST(Cost, OneTokenIsRoundedUpOnce) {
    const ModelPrice price = {
        .input = 1500, .output = 0, .cache_read = 500, .cache_write = 1500, .max_output_tokens = 0};
    EXPECT_EQ(price.upper_bound(1, 0), 2);
    EXPECT_EQ(price.upper_bound(2, 0), 4) << "1 of 2 may be cached: 2 + 1 nano, and one to spare";
}

TEST(Cost, BoundHoldsForEverySplitOfSmallUsages) {
    for (const PicoUsd input : {0, 1, 333, 999, 1000, 1500}) {
        for (const PicoUsd read : {0, 1, 500, 1000, 1999}) {
            for (const PicoUsd write : {1, 750, 2000}) {
                const ModelPrice price = {.input = input,
                                          .output = read,
                                          .cache_read = read,
                                          .cache_write = write,
                                          .max_output_tokens = 0};
                const NanoUsd bound = price.upper_bound(5, 3);
                for (int64_t prompt = 0; prompt <= 5; ++prompt) {
                    for (int64_t cached = 0; cached <= prompt; ++cached) {
                        for (int64_t written = 0; cached + written <= prompt; ++written) {
                            const Usage usage = usage_of(prompt, 3, cached, written);
                            ASSERT_LE(price.cost(usage).total(), bound)
                                << input << ' ' << read << ' ' << write << ' ' << prompt << ' '
                                << cached << ' ' << written;
                        }
                    }
                }
            }
        }
    }
}

TEST(Cost, BoundHoldsForRandomUsages) {
    std::mt19937_64 random(7);
    const auto any = [&random](int bits) {
        return static_cast<int64_t>(random() >> (64 - 1 - random() % static_cast<uint64_t>(bits)));
    };
    const auto rate = [&any] { return std::min(any(41), ModelPrice::kMaxRate); };
    for (int i = 0; i < 200'000; ++i) {
        const ModelPrice price = {.input = rate(),
                                  .output = rate(),
                                  .cache_read = rate(),
                                  .cache_write = rate(),
                                  .max_output_tokens = 0};
        const int64_t prompt = any(62);
        const int64_t completion = any(62);
        const Usage usage =
            usage_of(prompt - prompt / 8 * (any(3) % 8), completion, any(62), any(62));
        const Cost cost = price.cost(usage);
        ASSERT_GE(std::min({cost.input, cost.cached, cost.output}), 0);
        ASSERT_LE(cost.total(), price.upper_bound(prompt, completion));
    }
}

TEST(Cost, FreeMeansAllRatesAreZero) {
    EXPECT_TRUE(ModelPrice().is_free());
    EXPECT_FALSE(
        (ModelPrice{.input = 0, .output = 0, .cache_read = 0, .cache_write = 1}).is_free());
}

TEST(Usd, ParsesPerMillion) {
    EXPECT_EQ(parse_usd_per_million("0.15"), 150'000);
    EXPECT_EQ(parse_usd_per_million("3"), 3'000'000);
    EXPECT_EQ(parse_usd_per_million("0"), 0);
    EXPECT_EQ(parse_usd_per_million("0.000001"), 1);
    EXPECT_EQ(parse_usd_per_million("1000000"), ModelPrice::kMaxRate);
    for (const char* wrong :
         {"", "-1", "-0", "+1", "1e3", ".5", "5.", "1,5", "0x1", " 1", "1 ", "1000000.1",
          "0.0000001", "99999999999999999999", "abc", "$1", "1.2.3"}) {
        EXPECT_EQ(parse_usd_per_million(wrong), std::nullopt) << wrong;
    }
}

TEST(Usd, ParsesAmounts) {
    EXPECT_EQ(parse_usd("1000"), 1'000'000'000'000);
    EXPECT_EQ(parse_usd("0.5"), 500'000'000);
    EXPECT_EQ(parse_usd("12.34"), 12'340'000'000);
    EXPECT_EQ(parse_usd("0.000000001"), 1);
    EXPECT_EQ(parse_usd("0.0000000010"), 1);
    EXPECT_EQ(parse_usd("007"), 7'000'000'000);
    EXPECT_EQ(parse_usd("9000000000"), 9'000'000'000'000'000'000);
    for (const char* wrong : {"", ".", "-1", "1e3", "9000000000.000000001", "10000000000",
                              "0.0000000001", "99999999999999999999999999", "1 000", "usd"}) {
        EXPECT_EQ(parse_usd(wrong), std::nullopt) << wrong;
    }
    EXPECT_EQ(parse_usd(std::string(200, '0') + "1"), std::nullopt);
}

TEST(Usd, Formats) {
    EXPECT_EQ(format_usd(0), "0");
    EXPECT_EQ(format_usd(123'000), "0.000123");
    EXPECT_EQ(format_usd(1), "0.000000001");
    EXPECT_EQ(format_usd(12'000'000'000), "12");
    EXPECT_EQ(format_usd(10'500'000'000), "10.5");
    EXPECT_EQ(format_usd(-500'000'000), "-0.5");
    EXPECT_EQ(format_usd(kMax), "9223372036.854775807");
    EXPECT_EQ(format_usd(std::numeric_limits<int64_t>::min()), "-9223372036.854775808");
}

TEST(Usd, FormattedAmountsParseBack) {
    std::mt19937_64 random(3);
    for (int i = 0; i < 10'000; ++i) {
        const auto amount =
            static_cast<NanoUsd>((random() >> (2 + random() % 60)) % 9'000'000'000'000'000'000u);
        EXPECT_EQ(parse_usd(format_usd(amount)), amount);
    }
}

}  // namespace
}  // namespace llm
