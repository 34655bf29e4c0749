#include "spend/row.hpp"

#include <gtest/gtest.h>
#include <yajl/yajl_tree.h>

#include <array>
#include <memory>

namespace {

using Tree = std::unique_ptr<yajl_val_s, void (*)(yajl_val)>;

Tree parse(const std::string& json) {
    char error[256];
    return {yajl_tree_parse(json.c_str(), error, sizeof(error)), yajl_tree_free};
}

yajl_val member(const Tree& tree, const char* name) {
    const char* path[] = {name, nullptr};
    return yajl_tree_get(tree.get(), path, yajl_t_any);
}

std::string text(const Tree& tree, const char* name) {
    const yajl_val value = member(tree, name);
    return YAJL_IS_STRING(value) ? YAJL_GET_STRING(value) : "(not a string)";
}

std::string number(const Tree& tree, const char* name) {
    const yajl_val value = member(tree, name);
    return YAJL_IS_NUMBER(value) ? YAJL_GET_NUMBER(value) : "(not a number)";
}

std::string line_of(const spend::Row& row) {
    std::string line;
    spend::append_json_line(line, row);
    return line;
}

TEST(Row, EveryMemberIsWritten) {
    llm::Identity who;
    who.key_hash = std::string(64, 'a');
    who.key_alias = "demo";
    who.team = "research";
    who.user = "ada";
    who.org = "acme";
    const std::vector<std::string> tags = {"batch", "a\"b"};

    spend::Row row;
    row.request_id.bytes = {0x01, 0x8f, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0xff};
    row.started_ms = 1'700'000'000'123;
    row.ended_ms = 1'700'000'001'456;
    row.ttft_ms = 0;
    row.identity = &who;
    row.customer = "c-1";
    row.tags = &tags;
    row.endpoint = "chat/completions";
    row.requested_model = "fast";
    row.model = "gpt-4o-mini";
    row.deployment = "openai/gpt-4o-mini-2024-07-18";
    row.provider = "openai";
    row.dialect = "openai";
    row.status = 200;
    row.error_kind = "";
    row.decision = "admitted";
    row.attempts = 2;
    row.usage.prompt_tokens = 11;
    row.usage.completion_tokens = 12;
    row.usage.cached_tokens = 13;
    row.usage.cache_write_tokens = 14;
    row.usage.reasoning_tokens = 15;
    row.usage.audio_prompt_tokens = 16;
    row.usage.audio_completion_tokens = 17;
    row.usage.searches = 18;
    row.usage.terms.tier = llm::ServiceTier::flex;
    row.source = llm::UsageSource::counted;
    row.cost = {100, 20, INT64_MAX - 1000, 3, 4};
    row.held = -5;
    row.price_version = "abc123";
    row.stream = true;
    row.cache_hit = true;
    row.requests = 7;

    const std::string line = line_of(row);
    EXPECT_TRUE(spend::verify_json_line(line));
    const Tree tree = parse(line);
    ASSERT_TRUE(tree);
    EXPECT_EQ(text(tree, "request_id"), "018f0000-0000-7000-8000-0000000000ff");
    EXPECT_EQ(number(tree, "started_at"), "1700000000123");
    EXPECT_EQ(number(tree, "ended_at"), "1700000001456");
    EXPECT_EQ(number(tree, "ttft_ms"), "0");
    EXPECT_EQ(text(tree, "key_hash"), std::string(64, 'a'));
    EXPECT_EQ(text(tree, "key_alias"), "demo");
    EXPECT_EQ(text(tree, "user"), "ada");
    EXPECT_EQ(text(tree, "team"), "research");
    EXPECT_EQ(text(tree, "org"), "acme");
    EXPECT_EQ(text(tree, "customer"), "c-1");
    EXPECT_EQ(text(tree, "endpoint"), "chat/completions");
    EXPECT_EQ(text(tree, "requested_model"), "fast");
    EXPECT_EQ(text(tree, "model"), "gpt-4o-mini");
    EXPECT_EQ(text(tree, "deployment"), "openai/gpt-4o-mini-2024-07-18");
    EXPECT_EQ(text(tree, "provider"), "openai");
    EXPECT_EQ(text(tree, "dialect"), "openai");
    EXPECT_EQ(number(tree, "status"), "200");
    EXPECT_EQ(text(tree, "error_kind"), "");
    EXPECT_EQ(text(tree, "decision"), "admitted");
    EXPECT_EQ(number(tree, "attempts"), "2");
    EXPECT_EQ(number(tree, "prompt_tokens"), "11");
    EXPECT_EQ(number(tree, "completion_tokens"), "12");
    EXPECT_EQ(number(tree, "cached_tokens"), "13");
    EXPECT_EQ(number(tree, "cache_write_tokens"), "14");
    EXPECT_EQ(number(tree, "reasoning_tokens"), "15");
    EXPECT_EQ(number(tree, "audio_prompt_tokens"), "16");
    EXPECT_EQ(number(tree, "audio_completion_tokens"), "17");
    EXPECT_EQ(number(tree, "cost_nano_usd"), std::to_string(INT64_MAX - 873));
    EXPECT_EQ(number(tree, "input_nano_usd"), "100");
    EXPECT_EQ(number(tree, "cached_nano_usd"), "20");
    EXPECT_EQ(number(tree, "output_nano_usd"), std::to_string(INT64_MAX - 1000));
    EXPECT_EQ(number(tree, "reasoning_nano_usd"), "3");
    EXPECT_EQ(number(tree, "tools_nano_usd"), "4");
    EXPECT_EQ(number(tree, "searches"), "18");
    EXPECT_EQ(text(tree, "service_tier"), "flex");
    EXPECT_EQ(number(tree, "held_nano_usd"), "-5");
    EXPECT_EQ(text(tree, "price_version"), "abc123");
    EXPECT_EQ(text(tree, "usage_source"), "counted");
    EXPECT_TRUE(YAJL_IS_TRUE(member(tree, "stream")));
    EXPECT_TRUE(YAJL_IS_FALSE(member(tree, "aborted")));
    EXPECT_TRUE(YAJL_IS_TRUE(member(tree, "cache_hit")));
    EXPECT_EQ(number(tree, "requests"), "7");
    const yajl_val array = member(tree, "tags");
    ASSERT_TRUE(YAJL_IS_ARRAY(array));
    ASSERT_EQ(YAJL_GET_ARRAY(array)->len, 2u);
    EXPECT_STREQ(YAJL_GET_STRING(YAJL_GET_ARRAY(array)->values[1]), "a\"b");
}

TEST(Row, BudgetsAreNamedWithTheirWindows) {
    const std::array<spend::ChargedBudget, 2> budgets{
        {{"by:\"a\":usd:1mo@Europe/Berlin", 1'763'000'000'000, 1'765'000'000'000},
         {"global:usd:1d", 0, 86'400'000}}};
    spend::Row row;
    row.budgets = budgets;
    EXPECT_EQ(line_of(row), line_of({}));  // nobody brings them back
    row.epoch = (uint64_t{1} << 53) - 1;
    const std::string line = line_of(row);
    EXPECT_TRUE(spend::verify_json_line(line));
    const Tree tree = parse(line);
    ASSERT_TRUE(tree);
    EXPECT_EQ(number(tree, "epoch"), "9007199254740991");
    const yajl_val array = member(tree, "budgets");
    ASSERT_TRUE(YAJL_IS_ARRAY(array));
    ASSERT_EQ(YAJL_GET_ARRAY(array)->len, 2u);
    EXPECT_STREQ(YAJL_GET_STRING(YAJL_GET_ARRAY(array)->values[0]),
                 "by:\"a\":usd:1mo@Europe/Berlin@1763000000000-1765000000000");
    EXPECT_STREQ(YAJL_GET_STRING(YAJL_GET_ARRAY(array)->values[1]), "global:usd:1d@0-86400000");
}

TEST(Row, EmptyRowIsWhole) {
    const std::string line = line_of({});
    EXPECT_TRUE(spend::verify_json_line(line));
    const Tree tree = parse(line);
    ASSERT_TRUE(tree);
    EXPECT_TRUE(YAJL_IS_NULL(member(tree, "ttft_ms")));
    EXPECT_EQ(text(tree, "key_hash"), "");
    EXPECT_EQ(text(tree, "usage_source"), "none");
}

// The checksum as others compute it: Python's zlib.crc32(b'{"a":1') == 0xa702fc6e.
TEST(Row, ChecksumIsIeeeCrc32) {
    EXPECT_TRUE(spend::verify_json_line(R"({"a":1,"crc":"a702fc6e"})"));
    EXPECT_TRUE(spend::verify_json_line(R"(123456789,"crc":"cbf43926"})"));
    EXPECT_FALSE(spend::verify_json_line(R"(123456789,"crc":"CBF43926"})"));
    EXPECT_FALSE(spend::verify_json_line(R"(123456789,"crc":"cbf43926")"));
    EXPECT_FALSE(spend::verify_json_line(""));
}

TEST(Row, AnyCutOrChangedByteIsFound) {
    spend::Row row;
    row.model = "gpt-4o";
    const std::string line = line_of(row);
    for (size_t size = 0; size < line.size(); ++size) {
        EXPECT_FALSE(spend::verify_json_line(std::string_view(line).substr(0, size))) << size;
        EXPECT_FALSE(spend::verify_json_line(std::string_view(line).substr(size + 1))) << size;
        std::string changed = line;
        changed[size] = static_cast<char>(changed[size] ^ 0x04);
        EXPECT_FALSE(spend::verify_json_line(changed)) << size;
    }
}

TEST(Row, IsOneLineOfValidUtf8WhateverAClientSends) {
    const std::string nasty("a\n\r\t\0\x01\xff\xc3(\xed\xa0\x80\"\\", 14);
    const std::vector<std::string> tags = {nasty, nasty};
    spend::Row row;
    row.customer = nasty;
    row.requested_model = nasty;
    row.tags = &tags;
    const std::string line = line_of(row);
    EXPECT_EQ(line.find_first_of(std::string("\n\r\t\0", 4)), line.npos);
    EXPECT_TRUE(parse(line));  // yajl refuses text that is not UTF-8
    EXPECT_TRUE(spend::verify_json_line(line));
}

TEST(Row, LongTextsAreCutBetweenCharacters) {
    std::string long_text;
    while (long_text.size() < 3 * spend::kMaxTextBytes) {
        long_text += "\xe2\x82\xac";  // three bytes: no multiple of it is kMaxTextBytes
    }
    spend::Row row;
    row.customer = long_text;
    const Tree tree = parse(line_of(row));
    ASSERT_TRUE(tree);
    EXPECT_EQ(text(tree, "customer"), long_text.substr(0, spend::kMaxTextBytes / 3 * 3));
}

TEST(Row, NoLineIsLongerThanTheReaderTakes) {
    const std::string worst(5000, '\x01');
    const std::vector<std::string> tags(1000, worst);
    llm::Identity who;
    who.key_hash = who.key_alias = who.team = who.user = who.org = worst;
    spend::Row row;
    row.identity = &who;
    row.tags = &tags;
    row.customer = row.endpoint = row.requested_model = row.model = row.deployment = worst;
    row.provider = row.dialect = row.error_kind = row.decision = row.price_version = worst;
    EXPECT_LT(line_of(row).size(), spend::kMaxLineBytes);
}

}  // namespace
