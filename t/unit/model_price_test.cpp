#include "llm/model_price.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "llm/prices.hpp"

namespace llm {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

ModelPrice model(const std::string& fields) {
    const auto table = PriceTable::parse(R"({"m":{)" + fields + "}}");
    EXPECT_TRUE(table) << (table ? "" : table.error());
    return table && table->find("m") != nullptr ? *table->find("m") : ModelPrice();
}

// Per token in nano-USD: 3000 in, 15000 out, 300 read, 3750 written, 6000 written for an hour;
// above 200'000 tokens 6000 in, 22500 out, 600 read.
const ModelPrice kClaude = model(R"("input_cost_per_token": 3e-6, "output_cost_per_token": 1.5e-5,
    "cache_read_input_token_cost": 3e-7, "cache_creation_input_token_cost": 3.75e-6,
    "cache_creation_input_token_cost_above_1hr": 6e-6,
    "input_cost_per_token_above_200k_tokens": 6e-6, "output_cost_per_token_above_200k_tokens":
    2.25e-5, "cache_read_input_token_cost_above_200k_tokens": 6e-7,
    "cache_creation_input_token_cost_above_200k_tokens": 7.5e-6,
    "provider_specific_entry": {"us": 1.1, "fast": 2.0}, "search_context_cost_per_query": {
        "search_context_size_low": 0.01, "search_context_size_medium": 0.01,
        "search_context_size_high": 0.01})");

Usage usage_of(int64_t prompt, int64_t completion, int64_t cached = 0, int64_t written = 0) {
    Usage usage;
    usage.prompt_tokens = prompt;
    usage.completion_tokens = completion;
    usage.cached_tokens = cached;
    usage.cache_write_tokens = written;
    return usage;
}

void expect_cost(const Cost& cost, const Cost& expected) {
    EXPECT_EQ(cost.input, expected.input);
    EXPECT_EQ(cost.cached, expected.cached);
    EXPECT_EQ(cost.output, expected.output);
    EXPECT_EQ(cost.reasoning, expected.reasoning);
    EXPECT_EQ(cost.tools, expected.tools);
}

TEST(Cost, BillsEachTokenOnce) {
    Usage usage = usage_of(1000, 10, 600, 300);
    usage.cache_write_long_tokens = 100;
    usage.reasoning_tokens = 4;
    usage.searches = 2;
    expect_cost(kClaude.cost(usage), {.input = 100 * 3000,
                                      .cached = 600 * 300 + 200 * 3750 + 100 * 6000,
                                      .output = 6 * 15000,
                                      .reasoning = 4 * 15000,
                                      .tools = 20'000'000});
    EXPECT_EQ(kClaude.cost(Usage()).total(), 0);
}

TEST(Cost, AThresholdSwitchesEveryRateOfTheRequest) {
    expect_cost(kClaude.cost(usage_of(200'000, 10, 1000)),
                {.input = 199'000 * 3000, .cached = 300'000, .output = 150'000});
    expect_cost(kClaude.cost(usage_of(200'001, 10, 1000)),
                {.input = 199'001 * 6000, .cached = 600'000, .output = 225'000});
}

TEST(Cost, BillsModalities) {
    const ModelPrice price = model(R"("input_cost_per_token": 1e-9, "output_cost_per_token": 2e-9,
        "input_cost_per_audio_token": 1e-7, "cache_read_input_token_cost": 0,
        "cache_read_input_audio_token_cost": 1e-8, "input_cost_per_image_token": 1e-6,
        "cache_read_input_image_token_cost": 1e-5, "input_cost_per_video_token": 1e-4,
        "output_cost_per_audio_token": 1e-7, "output_cost_per_image_token": 1e-6)");
    Usage usage = usage_of(100, 50, 20);
    usage.audio_prompt_tokens = 12;
    usage.cached_audio_tokens = 5;
    usage.image_prompt_tokens = 7;
    usage.cached_image_tokens = 3;
    usage.video_prompt_tokens = 2;
    usage.audio_completion_tokens = 9;
    usage.image_completion_tokens = 1;
    expect_cost(price.cost(usage), {.input = 67 + 7 * 100 + 4 * 1000 + 2 * 100'000,
                                    .cached = 5 * 10 + 3 * 10'000,
                                    .output = 40 * 2 + 9 * 100 + 1000});
    usage.cached_tokens = 100;
    usage.cached_audio_tokens = usage.cached_image_tokens = 0;
    EXPECT_EQ(price.cost(usage).input, 0) << "what was cached is not billed by its modality too";
}

TEST(Cost, BillsTiersAndBatches) {
    const ModelPrice price = model(R"("input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6,
        "input_cost_per_token_priority": 2e-6)");
    Usage usage = usage_of(1000, 1, 0, 0);
    usage.searches = 1;
    usage.terms.tier = ServiceTier::priority;
    EXPECT_EQ(price.cost(usage).total(), 2'000'000 + 1000);
    usage.terms.tier = ServiceTier::flex;
    EXPECT_EQ(price.cost(usage).total(), 1'000'000 + 1000);
    usage.terms.tier = ServiceTier::batch;
    EXPECT_EQ(price.cost(usage).total(), 500'000 + 500);
    usage = usage_of(200'001, 0);
    usage.searches = 1;
    usage.terms.tier = ServiceTier::batch;
    expect_cost(kClaude.cost(usage), {.input = 200'001 * 3000, .tools = 10'000'000});
}

TEST(Cost, UpliftsAllButTools) {
    Usage usage = usage_of(1000, 0, 500);
    usage.searches = 1;
    usage.terms.locality = Locality::us;
    expect_cost(kClaude.cost(usage), {.input = 1'650'000, .cached = 165'000, .tools = 10'000'000});
    usage.terms.fast = true;
    EXPECT_EQ(kClaude.cost(usage).input, 3'300'000);
    usage.terms.locality = Locality::eu;
    EXPECT_EQ(kClaude.cost(usage).input, 3'000'000);
    const ModelPrice vertex = model(R"("input_cost_per_token": 1e-6,
        "regional_endpoint_uplift_multiplier": 1.1, "regional_processing_uplift_multiplier_eu": 1.2,
        "regional_processing_uplift_multiplier_us": 1.3)");
    usage = usage_of(1000, 0);
    for (const auto& [locality, cost] :
         {std::pair(Locality::regional, 1'100'000), std::pair(Locality::eu, 1'200'000),
          std::pair(Locality::us, 1'300'000)}) {
        usage.terms.locality = locality;
        EXPECT_EQ(vertex.cost(usage).total(), cost);
    }
}

TEST(Cost, BillsUnits) {
    Usage usage;
    usage.characters = 1000;
    usage.prompt_tokens = 250;
    EXPECT_EQ(model(R"("input_cost_per_character": 1.5e-5, "input_cost_per_token": 1e-6)")
                  .cost(usage)
                  .total(),
              15'000'000)
        << "characters instead of their tokens";

    usage = {};
    usage.duration_us = 9'500'000;
    EXPECT_EQ(model(R"("input_cost_per_second": 1e-4, "output_cost_per_second": 1e-4)")
                  .cost(usage)
                  .total(),
              950'000)
        << "once";
    EXPECT_EQ(model(R"("input_cost_per_second": 1e-4)").cost(usage).input, 950'000);
    usage.prompt_tokens = 3;
    EXPECT_EQ(
        model(R"("input_cost_per_second": 1e-4, "input_cost_per_token": 1e-6)").cost(usage).total(),
        3000)
        << "by token where tokens are told";

    usage = {};
    usage.images = 3;
    usage.image_pixels = 3 * 1024 * 1024;
    EXPECT_EQ(
        model(R"("output_cost_per_image": 0.04, "input_cost_per_image": 1)").cost(usage).total(),
        120'000'000);
    EXPECT_EQ(model(R"("input_cost_per_image": 0.05)").cost(usage).total(), 150'000'000);
    EXPECT_EQ(model(R"("input_cost_per_pixel": 2e-8)").cost(usage).total(), 62'914'560);

    usage = {};
    usage.queries = 2;
    usage.file_searches = 4;
    usage.containers = 1;
    usage.citation_tokens = 10;
    expect_cost(model(R"("input_cost_per_query": 0.002, "file_search_cost_per_1k_calls": 2.5,
        "code_interpreter_cost_per_session": 0.03, "citation_cost_per_token": 2e-6,
        "input_cost_per_request": 0.005)")
                    .cost(usage),
                {.input = 4'000'000 + 20'000, .tools = 10'000'000 + 30'000'000 + 5'000'000});

    usage = {};
    usage.prompt_tokens = usage.image_prompt_tokens = 100;
    usage.input_images = 2;
    EXPECT_EQ(model(R"("input_cost_per_image": 0.0001, "input_cost_per_token": 1e-6)")
                  .cost(usage)
                  .total(),
              200'000)
        << "images instead of their tokens";
    usage = {};
    usage.audio_us = usage.video_us = 500'000;
    EXPECT_EQ(model(R"("input_cost_per_audio_per_second": 1e-4,
        "input_cost_per_video_per_second": 1e-3)")
                  .cost(usage)
                  .total(),
              550'000);
}

TEST(Cost, BillsSearches) {
    const std::string costs = R"("input_cost_per_token": 1e-6, "search_context_cost_per_query": {
        "search_context_size_low": 0.005, "search_context_size_medium": 0.008,
        "search_context_size_high": 0.012})";
    Usage usage;
    usage.searches = 3;
    const auto tools = [&usage](const std::string& fields) {
        return model(fields).cost(usage).tools;
    };
    EXPECT_EQ(tools(costs), 24'000'000);
    EXPECT_EQ(tools(costs + R"(,"litellm_provider":"perplexity")"), 15'000'000);
    EXPECT_EQ(tools(costs + R"(,"litellm_provider":"gemini")"), 8'000'000) << "by the prompt";
    EXPECT_EQ(tools(costs + R"(,"litellm_provider":"gemini",
                    "web_search_billing_unit":"per_query")"),
              24'000'000);
    usage.terms.search_context = SearchContext::high;
    EXPECT_EQ(tools(costs), 36'000'000);
}

TEST(Cost, BillsOffPeakHours) {
    const ModelPrice price = model(R"("input_cost_per_token": 3e-7, "output_cost_per_token": 1.2e-6,
        "cache_read_input_token_cost": 6e-9, "off_peak_pricing": {
            "input_cost_per_token": 1.5e-7, "output_cost_per_token": 6e-7, "windows": [
            {"weekdays": [1, 2, 3, 4, "friday"], "hours_utc": ["00:00-01:00", "22:00-00:00"]},
            {"hours_utc": "00:00-00:00", "weekdays": ["sat", 7]}]})");
    constexpr int64_t kThursday = 1'763'596'800;  // 2025-11-20 00:00 UTC
    constexpr int64_t kHour = 3600;
    Usage usage = usage_of(1000, 1000, 100);
    const auto total_at = [&](int64_t seconds) {
        usage.terms.at_s = kThursday + seconds;
        return price.cost(usage).total();
    };
    constexpr NanoUsd kPeak = 900 * 300 + 100 * 6 + 1000 * 1200;
    constexpr NanoUsd kOffPeak = 900 * 150 + 100 * 6 + 1000 * 600;
    EXPECT_EQ(total_at(0), kOffPeak);
    EXPECT_EQ(total_at(kHour - 1), kOffPeak);
    EXPECT_EQ(total_at(kHour), kPeak);
    EXPECT_EQ(total_at(22 * kHour - 1), kPeak);
    EXPECT_EQ(total_at(22 * kHour), kOffPeak);
    EXPECT_EQ(total_at(24 * kHour - 1), kOffPeak);
    EXPECT_EQ(total_at(36 * kHour), kPeak) << "Friday noon";
    EXPECT_EQ(total_at(60 * kHour), kOffPeak) << "Saturday noon";
    EXPECT_EQ(total_at(84 * kHour), kOffPeak) << "Sunday noon";
    EXPECT_EQ(total_at(108 * kHour), kPeak) << "Monday noon";
    EXPECT_EQ(total_at(-kThursday), kPeak) << "not known when";
}

TEST(OffPeak, ReadsWeekdaysOnTheirCalendar) {
    OffPeakHours hours;
    EXPECT_TRUE(hours.add("15:00-17:00", 1 << 3));  // Thursday
    constexpr int64_t kThursday = 1'763'596'800;
    EXPECT_TRUE(hours.contains(kThursday + 16 * 3600));
    EXPECT_TRUE(hours.set_calendar("Asia/Shanghai"));
    EXPECT_FALSE(hours.contains(kThursday + 16 * 3600)) << "Friday already";
    EXPECT_TRUE(hours.contains(kThursday + 15 * 3600));
    for (const char* wrong : {"", "15:00", "15:00-", "24:00-01:00", "15:60-16:00", "1:00-2:00",
                              "aa:00-bb:00", "15:00-16:000", "15-00-16-00"}) {
        EXPECT_FALSE(hours.add(wrong, 1)) << wrong;
    }
    EXPECT_FALSE(hours.set_calendar("Mars/Olympus"));
    EXPECT_FALSE(OffPeakHours().contains(0));
}

// Rates that make every sum a fraction of a nano-USD.
TEST(Cost, RoundsTheTotalOnceAndThePartsAddUp) {
    const ModelPrice price = model(R"("input_cost_per_token": 1.4e-9, "output_cost_per_token":
        1.4e-9, "cache_read_input_token_cost": 1.4e-9, "output_cost_per_reasoning_token": 1.4e-9)");
    Usage usage = usage_of(2, 2, 1);
    usage.reasoning_tokens = 1;
    const Cost cost = price.cost(usage);
    EXPECT_EQ(cost.total(), 6) << "5.6, and not four times 1";
    expect_cost(cost, {.input = 1, .cached = 2, .output = 1, .reasoning = 2});
    EXPECT_EQ(price.cost(usage_of(1, 0)).total(), 1);
    EXPECT_EQ(model(R"("input_cost_per_token": 1.5e-9)").cost(usage_of(1, 0)).total(), 2);
    EXPECT_EQ(model(R"("input_cost_per_token": 1.4999e-9)").cost(usage_of(1, 0)).total(), 1);
}

TEST(Cost, ClampsNonsense) {
    EXPECT_EQ(kClaude.cost(usage_of(10, 0, 50)).total(), 10 * 300);
    EXPECT_EQ(kClaude.cost(usage_of(10, 0, 4, 50)).total(), 4 * 300 + 6 * 3750);
    EXPECT_EQ(kClaude.cost(usage_of(-10, -5, -3, -1)).total(), 0);
    EXPECT_EQ(kClaude.cost(usage_of(10, 0, -3, -1)).total(), 10 * 3000);
    Usage most = usage_of(kMax, kMax, kMax / 2, kMax / 2);
    most.reasoning_tokens = most.searches = most.images = most.duration_us = kMax;
    most.terms.fast = true;
    const ModelPrice dearest = model(R"("input_cost_per_token": 1, "output_cost_per_token": 1,
        "output_cost_per_image": 9, "search_context_cost_per_query": {
            "search_context_size_medium": 9}, "provider_specific_entry": {"us": 100, "fast": 100})");
    most.terms.locality = Locality::us;
    const Cost cost = dearest.cost(most);
    EXPECT_EQ(cost.total(), kMax / 2) << "saturated, not wrapped";
    EXPECT_GE(std::min({cost.input, cost.cached, cost.output, cost.reasoning, cost.tools}), 0);
}

TEST(Bound, IsThatOfTheDearestRates) {
    RequestTraits traits;
    EXPECT_EQ(kClaude.upper_bound(1000, 500, traits), 1000 * 6000 + 500 * 15000)
        << "all of it may be written for an hour";
    EXPECT_EQ(kClaude.upper_bound(200'001, 500, traits), 200'001 * 7500 + 500 * 22500LL);
    traits.fast = true;
    traits.locality = Locality::us;
    EXPECT_EQ(kClaude.upper_bound(1000, 0, traits), 1000 * 6000 * 22 / 10);
    EXPECT_EQ(kClaude.upper_bound(-1, -1), 0);
    traits = {};
    traits.units.searches = 3;
    EXPECT_EQ(kClaude.upper_bound(0, 0, traits), 30'000'000);
}

TEST(Bound, TakesWhatTheRequestMayTrigger) {
    const ModelPrice price = model(R"("input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6,
        "input_cost_per_token_priority": 2e-6, "input_cost_per_token_flex": 5e-7,
        "input_cost_per_token_batches": 3e-6, "input_cost_per_audio_token": 1e-5,
        "output_cost_per_image_token": 1e-4, "input_cost_per_request": 0.005)");
    RequestTraits traits;
    traits.audio = traits.images = false;
    constexpr NanoUsd kRequest = 5'000'000;
    EXPECT_EQ(price.upper_bound(1000, 0, traits), kRequest + 2'000'000);
    traits.tier = ServiceTier::standard;
    EXPECT_EQ(price.upper_bound(1000, 0, traits), kRequest + 1'000'000);
    traits.tier = ServiceTier::flex;
    EXPECT_EQ(price.upper_bound(1000, 0, traits), kRequest + 1'000'000) << "or standard";
    traits.tier = ServiceTier::batch;
    EXPECT_EQ(price.upper_bound(1000, 0, traits), kRequest + 3'000'000);
    traits.tier = ServiceTier::standard;
    traits.audio = true;
    EXPECT_EQ(price.upper_bound(1000, 10, traits), kRequest + 10'000'000 + 10'000);
    traits.images = true;
    EXPECT_EQ(price.upper_bound(1000, 10, traits), kRequest + 10'000'000 + 1'000'000);
}

TEST(Bound, CountsASearchThatNobodyAskedFor) {
    const std::string fields = R"("input_cost_per_token": 0, "search_context_cost_per_query": {
        "search_context_size_low": 0.005, "search_context_size_medium": 0.008})";
    EXPECT_EQ(model(fields).upper_bound(0, 0), 0);
    EXPECT_EQ(model(fields + R"(,"litellm_provider":"perplexity")").upper_bound(0, 0), 5'000'000);
    const auto table = PriceTable::parse(R"({"gpt-4o-search-preview":{)" + fields + "}}");
    EXPECT_EQ(table->find("gpt-4o-search-preview")->upper_bound(0, 0), 8'000'000);
}

// Any price list, and any usage that a request of at most these tokens may have.
TEST(Bound, HoldsForRandomPricesAndUsages) {
    std::mt19937_64 random(7);
    const auto below = [&random](int64_t limit) {
        return static_cast<int64_t>(random() % static_cast<uint64_t>(limit));
    };
    const auto rate = [&] { return std::to_string(below(1'000'000)) + "e-12"; };
    constexpr const char* kFields[] = {"input_cost_per_token",
                                       "output_cost_per_token",
                                       "cache_read_input_token_cost",
                                       "cache_creation_input_token_cost",
                                       "cache_creation_input_token_cost_above_1hr",
                                       "input_cost_per_token_priority",
                                       "output_cost_per_token_flex",
                                       "input_cost_per_token_above_1k_tokens",
                                       "output_cost_per_token_above_1k_tokens_priority",
                                       "input_cost_per_audio_token",
                                       "output_cost_per_audio_token",
                                       "input_cost_per_image_token",
                                       "cache_read_input_audio_token_cost",
                                       "output_cost_per_reasoning_token",
                                       "output_cost_per_image_token",
                                       "input_cost_per_video_token",
                                       "input_cost_per_token_batches",
                                       "cache_read_input_token_cost_above_1k_tokens",
                                       "input_cost_per_request"};
    for (int i = 0; i < 3000; ++i) {
        std::string fields = R"("provider_specific_entry": {"us": 1.1, "fast": 2.5})";
        for (const char* field : kFields) {
            if (below(2) == 0) {
                fields += ",\"" + std::string(field) + "\":" + rate();
            }
        }
        const ModelPrice price = model(fields);
        const int64_t prompt = below(3000);
        const int64_t completion = below(3000);
        RequestTraits traits;
        traits.fast = below(2) == 0;
        traits.locality = below(2) == 0 ? Locality::us : Locality::global;
        for (int j = 0; j < 40; ++j) {
            Usage usage =
                usage_of(below(prompt + 1), below(completion + 1), below(3000), below(3000));
            usage.cache_write_long_tokens = below(3000);
            usage.reasoning_tokens = below(3000);
            usage.audio_prompt_tokens = below(3000);
            usage.cached_audio_tokens = below(3000);
            usage.image_prompt_tokens = below(3000);
            usage.video_prompt_tokens = below(3000);
            usage.audio_completion_tokens = below(3000);
            usage.image_completion_tokens = below(3000);
            usage.terms.tier = static_cast<ServiceTier>(below(5));
            usage.terms.fast = traits.fast;
            usage.terms.locality = traits.locality;
            const Cost cost = price.cost(usage);
            ASSERT_GE(std::min({cost.input, cost.cached, cost.output, cost.reasoning}), 0);
            ASSERT_LE(cost.total(), price.upper_bound(prompt, completion, traits)) << fields;
        }
    }
}

TEST(Override, ReplacesASide) {
    ModelPrice price = kClaude;
    price.override_with(
        {.input = 1'000'000'000'000, .output = {}, .cache_read = {}, .cache_write = {}});
    Usage usage = usage_of(200'001, 10, 1000, 1000);
    usage.cache_write_long_tokens = 500;
    EXPECT_EQ(price.cost(usage).total(), 200'001 * 1000 + 225'000);
    price.override_with(
        {.input = {}, .output = 0, .cache_read = 1'000'000'000, .cache_write = 2'000'000'000});
    EXPECT_EQ(price.cost(usage).total(), 198'001 * 1000 + 1000 + 2000);
}

TEST(Override, IsOfBatchesToo) {
    Usage usage = usage_of(1000, 100);
    usage.terms.tier = ServiceTier::batch;
    EXPECT_EQ(ModelPrice::flat(1'000'000'000, 2'000'000'000).cost(usage).total(), 1200);
    ModelPrice price = kClaude;
    price.override_with(
        {.input = 1'000'000'000, .output = {}, .cache_read = {}, .cache_write = {}});
    EXPECT_EQ(price.cost(usage).total(), 1000 + 100 * 7500) << "half of the list's output";
    usage.terms.fast = true;
    price.override_with({.input = 1'000'000'000, .output = 0, .cache_read = {}, .cache_write = {}});
    EXPECT_EQ(price.cost(usage).total(), 1000);
}

TEST(Cost, FreeMeansThatNothingCosts) {
    EXPECT_TRUE(ModelPrice().is_free());
    EXPECT_TRUE(ModelPrice::flat(0, 0).is_free());
    EXPECT_TRUE(model(R"("input_cost_per_token": 0, "output_cost_per_image": 0)").is_free());
    EXPECT_FALSE(ModelPrice::flat(0, 1).is_free());
    EXPECT_FALSE(
        model(R"("input_cost_per_token": 0, "output_cost_per_token_flex": 1e-9)").is_free());
    EXPECT_FALSE(model(R"("input_cost_per_token": 0, "output_cost_per_image": 1e-9)").is_free());
}

}  // namespace
}  // namespace llm
