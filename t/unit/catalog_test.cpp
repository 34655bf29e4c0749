#include "llm/catalog.hpp"

#include <gtest/gtest.h>

#include <random>

namespace {

using llm::Catalog;
using llm::Deployment;
using llm::Endpoint;

Deployment& add(Catalog& catalog, const std::string& model, uint32_t weight, bool backup = false) {
    auto& deployments = catalog.model(model).deployments;
    deployments.push_back(std::make_unique<Deployment>());
    Deployment& deployment = *deployments.back();
    deployment.name = "d" + std::to_string(deployments.size());
    deployment.weight = weight;
    deployment.backup = backup;
    return deployment;
}

TEST(Catalog, ResolvesNamesThroughOneAlias) {
    Catalog catalog;
    add(catalog, "gpt", 1);
    EXPECT_TRUE(catalog.add_alias("fast", "gpt"));
    EXPECT_FALSE(catalog.add_alias("fast", "other"));
    EXPECT_TRUE(catalog.add_alias("faster", "fast"));

    ASSERT_NE(catalog.resolve("gpt"), nullptr);
    EXPECT_EQ(catalog.resolve("fast"), catalog.resolve("gpt"));
    EXPECT_EQ(catalog.resolve("faster"), nullptr);
    EXPECT_EQ(catalog.resolve("GPT"), nullptr);
    EXPECT_EQ(catalog.resolve(""), nullptr);
}

TEST(Catalog, KeepsProviderNamesUnique) {
    Catalog catalog;
    llm::Provider provider;
    provider.name = "openai";
    const llm::Provider* first = catalog.add_provider(provider);
    ASSERT_NE(first, nullptr);
    EXPECT_EQ(catalog.add_provider(provider), nullptr);
    EXPECT_EQ(catalog.provider("openai"), first);
}

TEST(Route, TriesEveryDeploymentOnceBackupsLast) {
    Catalog catalog;
    add(catalog, "m", 1);
    add(catalog, "m", 100, true);
    add(catalog, "m", 5);
    std::mt19937 random(1);
    for (int i = 0; i < 100; ++i) {
        const auto order = llm::route(*catalog.resolve("m"), random);
        ASSERT_EQ(order.size(), 3U);
        EXPECT_TRUE(order[2]->backup);
        EXPECT_NE(order[0], order[1]);
    }
}

TEST(Route, DrawsInProportionToWeight) {
    Catalog catalog;
    Deployment& heavy = add(catalog, "m", 3);
    add(catalog, "m", 1);
    std::mt19937 random(2);
    constexpr int kDraws = 40'000;
    int first = 0;
    for (int i = 0; i < kDraws; ++i) {
        first += llm::route(*catalog.resolve("m"), random).front() == &heavy ? 1 : 0;
    }
    // Six standard deviations of a binomial around three quarters.
    EXPECT_NEAR(first, kDraws * 3 / 4, 6 * 87);
}

llm::ModelPrice priced(llm::NanoUsd input, llm::NanoUsd output, int64_t max_output) {
    constexpr llm::AttoUsd kNano = 1'000'000'000;
    llm::ModelPrice price = llm::ModelPrice::flat(input * kNano, output * kNano);
    price.max_output_tokens = max_output;
    return price;
}

TEST(HoldBound, TakesTheDearestDeploymentAndItsLongestAnswer) {
    Catalog catalog;
    Deployment& cheap = add(catalog, "m", 1);
    cheap.price = priced(1'000, 2'000, 8'000);
    Deployment& dear = add(catalog, "m", 1);
    dear.price = priced(10'000, 20'000, 4'000);
    const std::vector<const Deployment*> order{&cheap, &dear};

    const auto open = llm::hold_bound(order, Endpoint::chat_completions, 100, std::nullopt, 2);
    EXPECT_EQ(open.completion_tokens, 16'000);
    EXPECT_EQ(open.cost, 100 * 10'000 + 2 * 4'000 * 20'000);

    const auto asked = llm::hold_bound(order, Endpoint::chat_completions, 100, 50, 1);
    EXPECT_EQ(asked.completion_tokens, 50);

    const auto clamped = llm::hold_bound(order, Endpoint::chat_completions, 100, 1'000'000, 1);
    EXPECT_EQ(clamped.completion_tokens, 8'000);

    const auto embeddings = llm::hold_bound(order, Endpoint::embeddings, 100, std::nullopt, 1);
    EXPECT_EQ(embeddings.completion_tokens, 0);
}

TEST(ExpectedHold, IsWhatAnAnswerOfItsClassComesTo) {
    Deployment plain;
    plain.price = priced(1'000, 2'000, 8'000);
    Deployment reasoning;
    reasoning.price = priced(1'000, 2'000, 100'000);
    reasoning.expected_output = llm::kReasonedAnswerTokens;
    const auto expected = [](const Deployment& deployment, std::optional<int64_t> asked,
                             int64_t choices = 1, Endpoint endpoint = Endpoint::chat_completions) {
        return llm::expected_hold({&deployment}, endpoint, 100, asked, choices);
    };
    EXPECT_EQ(expected(plain, std::nullopt).completion_tokens, 600);
    EXPECT_EQ(expected(plain, std::nullopt).cost, 100 * 1'000 + 600 * 2'000);
    EXPECT_EQ(expected(plain, 7'000, 3).completion_tokens, 1'800);
    EXPECT_EQ(expected(plain, 50).completion_tokens, 50);
    EXPECT_EQ(expected(reasoning, std::nullopt).completion_tokens, 6'000);
    EXPECT_EQ(expected(plain, std::nullopt, 1, Endpoint::embeddings).cost, 100 * 1'000);
    EXPECT_EQ(llm::expected_hold({&plain, &reasoning}, Endpoint::completions, 100, {}, 1).cost,
              100 * 1'000 + 6'000 * 2'000);
    EXPECT_EQ(expected(plain, std::nullopt, INT64_MAX).completion_tokens, INT64_MAX);
}

TEST(ExpectedHold, IsNeverAboveTheBound) {
    std::mt19937 random(3);
    const auto below = [&random](int64_t n) { return static_cast<int64_t>(random() % n); };
    for (int round = 0; round < 1000; ++round) {
        Deployment deployment;
        deployment.price = priced(below(5), below(5), below(2) * below(9'000));
        deployment.max_output = below(2) * below(9'000);
        deployment.default_output = below(2) * below(2'000);
        deployment.expected_output = below(7'000);
        const std::optional<int64_t> asked =
            below(2) ? std::optional(1 + below(9'000)) : std::nullopt;
        const int64_t prompt = below(1'000);
        const int64_t choices = 1 + below(3);
        const std::vector<const Deployment*> order{&deployment};
        const auto most = llm::hold_bound(order, Endpoint::completions, prompt, asked, choices);
        const auto likely =
            llm::expected_hold(order, Endpoint::completions, prompt, asked, choices);
        ASSERT_LE(likely.completion_tokens, most.completion_tokens);
        ASSERT_LE(likely.cost, most.cost);
    }
}

TEST(HoldBound, SaturatesInsteadOfWrapping) {
    Catalog catalog;
    Deployment& deployment = add(catalog, "m", 1);
    deployment.price = llm::ModelPrice::flat(llm::kMaxTokenRate, llm::kMaxTokenRate);
    const auto bound = llm::hold_bound({&deployment}, Endpoint::completions, 1'000'000'000,
                                       1'000'000'000, INT64_MAX);
    EXPECT_EQ(bound.completion_tokens, INT64_MAX);
    EXPECT_GT(bound.cost, 0);
}

TEST(MaxTokensToSend, BindsOnlyWhereTheBoundWouldNotHoldByItself) {
    Deployment known;
    known.price.max_output_tokens = 1'000;
    Deployment unknown;
    const auto send = [](const Deployment& deployment, std::optional<int64_t> asked) {
        return llm::max_tokens_to_send(deployment, Endpoint::chat_completions, asked);
    };
    EXPECT_EQ(send(known, std::nullopt), std::nullopt);
    EXPECT_EQ(send(known, 10), std::nullopt);
    EXPECT_EQ(send(known, 5'000), 1'000);
    EXPECT_EQ(send(unknown, std::nullopt), llm::kDefaultMaxOutput);
    EXPECT_EQ(send(unknown, 5'000), std::nullopt);
    EXPECT_EQ(llm::max_tokens_to_send(unknown, Endpoint::embeddings, std::nullopt), std::nullopt);
}

TEST(Catalog, OperatorsBoundOnOutput) {
    Deployment deployment;
    deployment.price.max_output_tokens = 16'000;
    deployment.max_output = 2'000;
    const auto sent = [&deployment](std::optional<int64_t> asked) {
        return llm::max_tokens_to_send(deployment, Endpoint::chat_completions, asked);
    };
    const auto held = [&deployment](std::optional<int64_t> asked) {
        return llm::hold_bound({&deployment}, Endpoint::chat_completions, 0, asked, 1)
            .completion_tokens;
    };
    EXPECT_EQ(held(std::nullopt), 2'000);
    EXPECT_EQ(sent(std::nullopt), 2'000);
    EXPECT_EQ(held(5'000), 2'000);
    EXPECT_EQ(sent(5'000), 2'000);
    EXPECT_EQ(held(10), 10);
    EXPECT_EQ(sent(10), std::nullopt);

    deployment.default_output = 500;
    EXPECT_EQ(held(std::nullopt), 500);
    EXPECT_EQ(sent(std::nullopt), 500);
    EXPECT_EQ(held(1'000), 1'000);

    deployment.max_output = 20'000;
    deployment.default_output = 0;
    EXPECT_EQ(held(std::nullopt), 16'000);
    EXPECT_EQ(sent(std::nullopt), std::nullopt);
    deployment.price.max_output_tokens = 0;
    EXPECT_EQ(held(std::nullopt), 20'000);
    EXPECT_EQ(sent(std::nullopt), 20'000);
}

TEST(Catalog, ReasoningModelsOfOpenAiHaveABoundOfTheirOwn) {
    for (const char* model : {"o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "openai/gpt-5.1"}) {
        EXPECT_EQ(llm::bound_field_of(model), "max_completion_tokens") << model;
    }
    for (const char* model : {"", "o", "gpt-4o", "gpt-oss-120b", "openai/gpt-4.1", "olmo"}) {
        EXPECT_EQ(llm::bound_field_of(model), "max_tokens") << model;
    }
}

}  // namespace
