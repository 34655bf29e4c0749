#include "spend/refusal_sums.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace {

const llm::Identity kAlice{"a1", "alice", "research", "", "", {"batch"}};
const llm::Identity kBob{"b1", "bob", "", "", "", {}};

spend::Row refusal(const llm::Identity& who, std::string_view error_kind, int64_t at_ms = 1000) {
    spend::Row row;
    row.identity = &who;
    row.endpoint = "chat/completions";
    row.model = "gpt-4o";
    row.started_ms = at_ms;
    row.ended_ms = at_ms + 1;
    row.status = 429;
    row.error_kind = error_kind;
    row.decision = error_kind;
    return row;
}

std::vector<spend::Row> taken(spend::RefusalSums& sums) {
    std::vector<spend::Row> rows;
    sums.take(10, [&](const spend::Row& row) { rows.push_back(row); });
    return rows;
}

TEST(RefusalSums, AddsUpWhatIsAlike) {
    spend::RefusalSums sums;
    for (int64_t i = 0; i < 10; ++i) {
        std::string soon_gone = "budget_exceeded";
        std::string customer = "customer " + std::to_string(i);
        spend::Row row = refusal(kAlice, soon_gone, i == 0 ? 1005 : 1000 + i);
        row.customer = customer;
        row.requested_model = customer;
        sums.add(row);
        soon_gone.assign("overwritten____");
    }
    int64_t requests = 0;
    sums.take(1, [&](const spend::Row& row) {
        requests += row.requests;
        EXPECT_EQ(row.identity, &kAlice);
        EXPECT_EQ(row.error_kind, "budget_exceeded");
        EXPECT_EQ(row.decision, "budget_exceeded");
        EXPECT_EQ(row.requested_model, "gpt-4o");
        EXPECT_EQ(row.customer, "");
        EXPECT_EQ(row.tags, &kAlice.tags);
        EXPECT_EQ(row.started_ms, 1001);  // it waited, and was refused after the first one
        EXPECT_EQ(row.ended_ms, 1010);
    });
    EXPECT_EQ(requests, 10);
    EXPECT_TRUE(sums.empty());
}

TEST(RefusalSums, KeepsApartWhatDiffers) {
    spend::RefusalSums sums;
    sums.add(refusal(kAlice, "budget_exceeded"));
    sums.add(refusal(kAlice, "rate_limit_exceeded"));
    sums.add(refusal(kBob, "budget_exceeded"));
    spend::Row other_model = refusal(kAlice, "budget_exceeded");
    other_model.model = "gpt-4o-mini";
    sums.add(other_model);
    spend::Row other_endpoint = refusal(kAlice, "budget_exceeded");
    other_endpoint.endpoint = "embeddings";
    sums.add(other_endpoint);
    spend::Row other_status = refusal(kAlice, "budget_exceeded");
    other_status.status = 402;
    sums.add(other_status);
    EXPECT_EQ(taken(sums).size(), 6u);
    EXPECT_TRUE(taken(sums).empty());
}

TEST(RefusalSums, IsBounded) {
    spend::RefusalSums sums;
    for (size_t i = 0; i < spend::RefusalSums::kMostSums; ++i) {
        EXPECT_FALSE(sums.full());
        sums.add(refusal(kAlice, "code " + std::to_string(i)));
    }
    EXPECT_TRUE(sums.full());
}

TEST(RefusalSums, AreTakenInSlices) {
    spend::RefusalSums sums;
    for (size_t i = 0; i < 25; ++i) {
        sums.add(refusal(kAlice, "code " + std::to_string(i)));
    }
    EXPECT_EQ(taken(sums).size(), 10u);
    sums.add(refusal(kBob, "code 0"));
    EXPECT_EQ(taken(sums).size(), 10u);
    EXPECT_EQ(taken(sums).size(), 6u);
    EXPECT_TRUE(sums.empty());
}

}  // namespace
