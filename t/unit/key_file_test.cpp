#include "keys/key_file.hpp"

#include <gtest/gtest.h>

namespace {

using keys::KeyFile;

// SHA-256 of "sk-demo", as sha256sum prints it.
constexpr const char* kDemoHash =
    "f77894fdfa58e447c57e077eaa9708e8e009c84dc6aba2db80461275e9b85be7";

std::string failure(const std::string& json) {
    const auto file = KeyFile::parse(json);
    return file ? "" : file.error();
}

TEST(KeyHash, IsTheSha256OfTheSecret) {
    EXPECT_EQ(keys::to_hex(keys::hash_key("sk-demo")), kDemoHash);
    EXPECT_EQ(keys::parse_key_hash(kDemoHash), keys::hash_key("sk-demo"));
    EXPECT_EQ(keys::parse_key_hash(std::string(64, 'g')), std::nullopt);
    EXPECT_EQ(keys::parse_key_hash("f7"), std::nullopt);
}

TEST(KeyFile, ReadsEveryField) {
    const auto file = KeyFile::parse(R"({
        "keys": [{"key": "sk-demo", "alias": "demo", "team": "t", "user": "u", "org": "o",
                  "tags": ["a", "b"], "models": ["gpt-4o-mini", "claude-*"], "max_budget": 12.5,
                  "budget_duration": "30d", "rpm_limit": 1, "tpm_limit": 2,
                  "max_parallel_requests": 3, "expires": "2030-01-01T00:00:00Z", "blocked": true}],
        "teams": [{"id": "t", "max_budget": 0.000000001}],
        "users": [{"id": "u"}], "organizations": [{"id": "o", "blocked": true}]})");
    ASSERT_TRUE(file) << file.error();
    const keys::VirtualKey* key = file->find(keys::hash_key("sk-demo"));
    ASSERT_NE(key, nullptr);
    EXPECT_EQ(key->identity.key_hash, kDemoHash);
    EXPECT_EQ(key->identity.team, "t");
    EXPECT_EQ(key->identity.tags, (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(key->limits.max_budget, 12'500'000'000);
    EXPECT_EQ(key->limits.max_parallel_requests, 3);
    EXPECT_TRUE(key->limits.blocked);
    EXPECT_EQ(key->expires_ms, 1'893'456'000'000);
    EXPECT_TRUE(key->expired(1'893'456'000'000));
    EXPECT_FALSE(key->expired(1'893'455'999'999));
    EXPECT_EQ(file->team("t")->limits.max_budget, 1);
    EXPECT_TRUE(file->org("o")->limits.blocked);
    EXPECT_EQ(file->user("x"), nullptr);
    EXPECT_EQ(file->find(keys::hash_key("sk-other")), nullptr);
}

TEST(KeyFile, TakesAStoredHashInPlaceOfTheKey) {
    const auto file =
        KeyFile::parse(R"({"keys": [{"key_hash": ")" + std::string(kDemoHash) + "\"}]}");
    ASSERT_TRUE(file) << file.error();
    EXPECT_NE(file->find(keys::hash_key("sk-demo")), nullptr);
}

TEST(KeyFile, SaysWhatIsWrongAndWhere) {
    EXPECT_EQ(failure("{\n\n!"), "not JSON, line 3");
    EXPECT_EQ(failure(""), "not JSON, line 1");
    EXPECT_EQ(failure("{}x"), "not JSON, line 1");
    EXPECT_EQ(failure("[]"), "the file must be an object");
    EXPECT_EQ(failure(R"({"key": []})"), "the file: unknown field \"key\"");
    EXPECT_EQ(failure(R"({"keys": {}})"), "keys must be an array");
    EXPECT_EQ(failure(R"({"keys": [{}]})"), R"(keys[0] needs "key" or "key_hash")");
    EXPECT_EQ(failure(R"({"keys": [{"key": "a", "rpm": 1}]})"), "keys[0]: unknown field \"rpm\"");
    EXPECT_EQ(failure(R"({"keys": [{"key": "a", "rpm_limit": -1}]})"),
              "keys[0].rpm_limit must be a whole number, 0 or more");
    EXPECT_EQ(failure(R"({"keys": [{"key": "a", "max_budget": "1"}]})"),
              "keys[0].max_budget must be an amount of USD such as 25 or 0.5");
    EXPECT_EQ(failure(R"({"keys": [{"key": "a"}, {"key": "a"}]})"),
              "keys[1] has the same key as another record");
    EXPECT_EQ(failure(R"({"keys": [{"key": "a", "expires": "2030-02-30"}]})"),
              "keys[0].expires must be a UTC time such as \"2030-01-01T00:00:00Z\"");
    EXPECT_EQ(failure(R"({"teams": [{"id": ""}]})"), "teams[0].id must not be empty");
}

TEST(KeyFile, NeverQuotesTheFile) {
    EXPECT_EQ(failure(R"({"keys": [{"key": "sk-secret" oops}]})").find("sk-"), std::string::npos);
}

TEST(Limits, AllowModelsByGlob) {
    keys::Limits limits;
    EXPECT_TRUE(limits.allows("anything"));
    limits.models = {"gpt-4o", "claude-*"};
    EXPECT_TRUE(limits.allows("claude-opus-4"));
    EXPECT_TRUE(limits.allows("gpt-4o"));
    EXPECT_FALSE(limits.allows("gpt-4o-mini"));
}

}  // namespace
