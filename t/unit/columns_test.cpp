#include "spend/columns.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "spend/row.hpp"

namespace {

const std::string kId = R"("request_id":"018f0000-0000-7000-8000-0000000000ff","started_at":7)";

// The parameters by the column's place in the statement.
std::string parameter(spend::Columns& columns, const std::string& name) {
    const std::string& sql = spend::Columns::insert_statement();
    const size_t at = sql.find('"' + name + '"');
    EXPECT_NE(at, sql.npos) << name;
    const auto index = std::count(sql.begin(), sql.begin() + static_cast<long>(at), ',');
    return columns.parameters().at(static_cast<size_t>(index));
}

std::string one(const std::string& members, const std::string& name) {
    spend::Columns columns;
    EXPECT_TRUE(columns.add("{" + kId + (members.empty() ? "" : ",") + members + "}"));
    return parameter(columns, name);
}

TEST(Columns, TakesWhatTheSpoolWrites) {
    const std::vector<std::string> tags = {"x", "y z"};
    spend::Row row;
    row.started_ms = 1'700'000'000'123;
    row.tags = &tags;
    row.model = "gpt-4o";
    row.stream = true;
    std::string line;
    spend::append_json_line(line, row);
    spend::Columns columns;
    ASSERT_TRUE(columns.add(line));
    ASSERT_TRUE(columns.add(line));
    EXPECT_EQ(columns.rows(), 2u);
    const auto& p = columns.parameters();
    EXPECT_EQ(p.size(), 45u);
    EXPECT_STREQ(p[1], "{1700000000123,1700000000123}");
    EXPECT_STREQ(p[3], "{NULL,NULL}");
    EXPECT_STREQ(p[10], R"({"{\"x\",\"y z\"}","{\"x\",\"y z\"}"})");
    EXPECT_STREQ(p[13], R"({"gpt-4o","gpt-4o"})");
    EXPECT_STREQ(p[39], "{t,t}");

    columns.clear();
    EXPECT_EQ(columns.rows(), 0u);
    ASSERT_TRUE(columns.add("{" + kId + "}"));
    EXPECT_STREQ(columns.parameters()[1], "{7}");
}

TEST(Columns, DefaultsForMembersOfOtherVersions) {
    EXPECT_EQ(one("", "ended_at"), "{NULL}");
    EXPECT_EQ(one("", "team"), R"({""})");
    EXPECT_EQ(one("", "tags"), R"({"{}"})");
    EXPECT_EQ(one("", "held_nano_usd"), "{0}");
    EXPECT_EQ(one("", "stream"), "{f}");
    EXPECT_EQ(one("", "epoch"), "{NULL}");
    EXPECT_EQ(one("", "budgets"), "{NULL}");
    EXPECT_EQ(one(R"("epoch":9007199254740991)", "epoch"), "{9007199254740991}");
    EXPECT_EQ(one(R"("budgets":["a@1-2","b@3-4"])", "budgets"), R"({"{\"a@1-2\",\"b@3-4\"}"})");
    EXPECT_EQ(one("", "requests"), "{1}");
    EXPECT_EQ(one(R"("new":{"team":"a","x":[[1,{"team":"b"}]]},"later":[1,"a"])", "team"),
              R"({""})");
    EXPECT_EQ(one(R"("team":"t","status":5)", "status"), "{5}");  // another order
    EXPECT_EQ(one(R"("ttft_ms":null)", "ttft_ms"), "{NULL}");
}

TEST(Columns, TextsAreQuotedForAnArray) {
    EXPECT_EQ(one(R"("team":"a\"b\\c,{}")", "team"), R"({"a\"b\\c,{}"})");
    EXPECT_EQ(one(R"("team":"NULL")", "team"), R"({"NULL"})");
    EXPECT_EQ(one(R"("team":"\u0000a\u0000\u0000b\u0000")", "team"), R"({"ab"})");
    EXPECT_EQ(one(R"("tags":["a\"","\\"])", "tags"), R"({"{\"a\\\"\",\"\\\\\"}"})");
    EXPECT_EQ(one(R"("tags":[])", "tags"), R"({"{}"})");
}

TEST(Columns, WhatIsNoRowIsRefusedAndLeavesNothing) {
    const std::string bad[] = {
        "",
        "garbage",
        "[]",
        "[{" + kId + "}]",
        "{}",
        R"({"request_id":"x"})",
        R"({"started_at":1})",
        R"({"request_id":5,"started_at":1})",
        R"({"request_id":"x","started_at":"1"})",
        "{" + kId + R"(,"team":1})",
        "{" + kId + R"(,"team":{"a":1}})",
        "{" + kId + R"(,"team":["a"]})",
        "{" + kId + R"(,"team":true})",
        "{" + kId + R"(,"stream":1})",
        "{" + kId + R"(,"status":"200"})",
        "{" + kId + R"(,"tags":"a"})",
        "{" + kId + R"(,"tags":[1]})",
        "{" + kId + R"(,"tags":[null]})",
        "{" + kId + R"(,"tags":["a",["b"]]})",
        "{" + kId + R"(,"tags":[{"a":"b"}]})",
        "{" + kId,
        "{" + kId + "} x",
    };
    spend::Columns columns;
    for (const std::string& line : bad) {
        EXPECT_FALSE(columns.add(line)) << line;
    }
    EXPECT_EQ(columns.rows(), 0u);
    ASSERT_TRUE(columns.add("{" + kId + "}"));
    EXPECT_EQ(parameter(columns, "started_at"), "{7}");
}

}  // namespace
