#include "llm/charge.hpp"

#include <gtest/gtest.h>

namespace {

using llm::UsageSource;

// One nano-USD a token of input, two of output.
const llm::ModelPrice kPrice = llm::ModelPrice::flat(1'000'000'000, 2'000'000'000);
const llm::HeldTokens kHeld{1'000, 500, 3'000};

llm::Ending answered() {
    llm::Ending ending;
    ending.provider_status = 200;
    ending.parsed = true;
    ending.facts.complete = true;
    return ending;
}

TEST(Charge, TakesReportedUsageWhateverElseHappened) {
    llm::Ending ending = answered();
    ending.facts.has_usage = true;
    ending.facts.usage.prompt_tokens = 100;
    ending.facts.usage.completion_tokens = 10;
    ending.facts.complete = false;
    const auto charge = llm::charge(ending, kHeld, kPrice);
    EXPECT_EQ(charge.source, UsageSource::reported);
    EXPECT_EQ(charge.cost.total(), 100 + 20);
}

TEST(Charge, IsNothingForWhatTheProviderRefused) {
    llm::Ending ending;
    EXPECT_EQ(llm::charge(ending, kHeld, kPrice).source, UsageSource::none);
    ending = answered();
    ending.provider_status = 429;
    EXPECT_EQ(llm::charge(ending, kHeld, kPrice).source, UsageSource::none);
    EXPECT_EQ(llm::charge(ending, kHeld, kPrice).cost.total(), 0);
}

TEST(Charge, IsTheHoldWhenAProviderMayHaveBilledAndNobodyKnows) {
    llm::Ending silent;
    silent.unanswered = true;
    llm::Ending refused_later = silent;
    refused_later.provider_status = 503;
    llm::Ending unreadable = answered();
    unreadable.parsed = false;
    llm::Ending cut_json = answered();
    cut_json.facts.complete = false;
    llm::Ending garbage = answered();
    garbage.stream = true;
    garbage.facts.malformed = true;
    for (const llm::Ending& ending : {silent, refused_later, unreadable, cut_json, garbage}) {
        const auto charge = llm::charge(ending, kHeld, kPrice);
        EXPECT_EQ(charge.source, UsageSource::held);
        EXPECT_EQ(charge.cost.total(), kHeld.cost);
        EXPECT_GE(charge.cost.output, 0);
        EXPECT_EQ(charge.usage.total_tokens(), 1'500);
    }
}

TEST(Charge, CountsAStreamUpToWhereItEnded) {
    llm::Ending ending = answered();
    ending.stream = true;
    ending.facts.complete = false;
    ending.output_tokens = 40;
    auto charge = llm::charge(ending, kHeld, kPrice);
    EXPECT_EQ(charge.source, UsageSource::counted);
    EXPECT_EQ(charge.usage.completion_tokens, 40);
    EXPECT_EQ(charge.cost.total(), 1'000 + 80);

    ending.output_tokens = 1'000'000;
    charge = llm::charge(ending, kHeld, kPrice);
    EXPECT_EQ(charge.usage.completion_tokens, kHeld.completion);
    EXPECT_LE(charge.cost.total(), kHeld.cost);
}

TEST(Charge, TakesThePromptThatAStreamToldBeforeItEnded) {
    llm::Ending ending = answered();
    ending.stream = true;
    ending.facts.complete = false;
    ending.facts.has_prompt = true;
    ending.facts.usage.prompt_tokens = 700;
    ending.facts.usage.completion_tokens = 1;
    ending.output_tokens = 40;
    const auto charge = llm::charge(ending, kHeld, kPrice);
    EXPECT_EQ(charge.source, UsageSource::counted);
    EXPECT_EQ(charge.usage.prompt_tokens, 700);
    EXPECT_EQ(charge.usage.completion_tokens, 40);
    EXPECT_EQ(charge.cost.total(), 700 + 80);
}

}  // namespace
