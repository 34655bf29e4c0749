#include "ledger/limit_rule.hpp"

#include <gtest/gtest.h>

#include <set>

#include "ledger/window.hpp"

namespace ledger {
namespace {

constexpr int64_t kUsd = 1'000'000'000;

llm::Identity identity() {
    llm::Identity who;
    who.key_hash = "0123456789abcdef" + std::string(48, 'f');
    who.key_alias = "ci";
    who.team = "research";
    who.org = "acme";
    return who;
}

LimitRule budget(std::string_view scope, std::string_view amount) {
    auto rule = parse_budget(scope, amount);
    EXPECT_TRUE(rule) << rule.error();
    return *rule;
}

LimitRule rate(std::string_view scope, std::string_view text) {
    auto rule = parse_rate(scope, text);
    EXPECT_TRUE(rule) << rule.error();
    return *rule;
}

std::vector<std::string> names(const llm::Identity& who, const std::vector<LimitRule>& rules) {
    std::vector<std::string> names;
    for (const ClaimTemplate& claim : claims_for(who, rules)) {
        names.push_back(claim.counter.name);
    }
    return names;
}

TEST(Budget, ReadsScopeAmountAndWindow) {
    const LimitRule rule = budget("team=*", "1000usd/30d");
    EXPECT_EQ(rule.scope, Scope::team);
    EXPECT_EQ(rule.selector, "*");
    EXPECT_EQ(rule.unit, Unit::nano_usd);
    EXPECT_EQ(rule.window, (Window{WindowKind::fixed, 30 * 86'400'000LL}));
    EXPECT_EQ(rule.limit, 1000 * kUsd);

    EXPECT_EQ(budget("global", "5000usd/1mo").selector, "");
    EXPECT_EQ(budget("org=a=b", "1usd/1w").selector, "a=b");
}

TEST(Budget, AmountsAreExactToTheNanoDollar) {
    EXPECT_EQ(budget("global", "0.000000001usd/1d").limit, 1);
    EXPECT_EQ(budget("global", "0.1usd/1d").limit, 100'000'000);
    EXPECT_EQ(budget("global", "1234.567890123usd/1d").limit, 1'234'567'890'123);
    EXPECT_EQ(budget("global", "0usd/1d").limit, 0);
    EXPECT_EQ(budget("global", "9000000usd/1d").limit, kMaxLimit);
    EXPECT_EQ(budget("global", "8999999.999999999usd/1d").limit, kMaxLimit - 1);
}

TEST(Budget, RefusesWrongAmounts) {
    for (const char* amount : {"",
                               "usd/1d",
                               "1000",
                               "1000/30d",
                               "1000usd",
                               "1000usd/",
                               "1000eur/30d",
                               "-1usd/1d",
                               "+1usd/1d",
                               "1e3usd/1d",
                               ".5usd/1d",
                               "5.usd/1d",
                               "1.2.3usd/1d",
                               "1.-2usd/1d",
                               "1 usd/1d",
                               "0.0000000001usd/1d",
                               "9000000.000000001usd/1d",
                               "9000001usd/1d",
                               "99999999999999999999usd/1d",
                               "1usd/2mo",
                               "1usd/0s",
                               "1usd/1d/1d"}) {
        const auto rule = parse_budget("global", amount);
        ASSERT_FALSE(rule) << amount;
        EXPECT_NE(rule.error().find('"' + std::string(amount) + '"'), std::string::npos);
    }
}

TEST(Scopes, RefusesWrongOnes) {
    for (const char* scope : {"", "=", "Team=*", "team", "team=", "global=x",
                              "global=", "model=gpt-*", "key", " team=*"}) {
        EXPECT_FALSE(parse_budget(scope, "1usd/1d")) << scope;
        EXPECT_FALSE(parse_rate(scope, "rpm=1")) << scope;
    }
}

TEST(Rate, ReadsEachKind) {
    const LimitRule rpm = rate("key=*", "rpm=100");
    EXPECT_EQ(rpm.unit, Unit::requests);
    EXPECT_EQ(rpm.window, (Window{WindowKind::sliding, 60'000}));
    EXPECT_EQ(rpm.limit, 100);
    const LimitRule tpm = rate("user=ann", "tpm=100k");
    EXPECT_EQ(tpm.scope, Scope::user);
    EXPECT_EQ(tpm.unit, Unit::tokens);
    EXPECT_EQ(tpm.window, (Window{WindowKind::sliding, 60'000}));
    EXPECT_EQ(tpm.limit, 100'000);
    const LimitRule parallel = rate("team=*", "parallel=20");
    EXPECT_EQ(parallel.unit, Unit::parallel);
    EXPECT_EQ(parallel.window, Window{});
    EXPECT_EQ(parallel.limit, 20);
    EXPECT_EQ(rate("global", "tpm=2m").limit, 2'000'000);
}

TEST(Rate, RefusesWrongOnes) {
    for (const char* text :
         {"", "rpm", "rpm=", "rpm=k", "rpm=-1", "rpm=1.5", "rpm=1.5k", "rpm=1kk", "rpm=1g", "RPM=1",
          "rps=1", "=1", "rpm=1 ", "rpm==1", "tpm=9000000000000001", "tpm=99999999999999m"}) {
        EXPECT_FALSE(parse_rate("global", text)) << text;
    }
}

TEST(ClaimsFor, EveryMatchingRuleGivesItsCounter) {
    const std::vector<LimitRule> rules{
        budget("global", "5usd/1mo"),    budget("org=acme", "4usd/30d"),
        budget("team=*", "3usd/1d@UTC"), rate("key=*", "rpm=10"),
        rate("key=*", "tpm=10k"),        rate("key=*", "parallel=2")};
    EXPECT_EQ(names(identity(), rules),
              (std::vector<std::string>{
                  "global:usd:1mo", "org:acme:usd:30d", "team:research:usd:1d@UTC",
                  "key:0123456789abcdef:requests:sliding-1m",
                  "key:0123456789abcdef:tokens:sliding-1m", "key:0123456789abcdef:parallel"}));
    const auto claims = claims_for(identity(), rules);
    EXPECT_EQ(claims[2].label, "team");
    EXPECT_EQ(claims[2].limit, 3 * kUsd);
    EXPECT_EQ(claims[2].scope, Scope::team);
    EXPECT_EQ(claims[2].window.kind, WindowKind::day);
    EXPECT_EQ(claims[2].counter.hash, make_counter_id("team:research:usd:1d@UTC").hash);
}

TEST(ClaimsFor, OthersRulesDoNotMatch) {
    EXPECT_TRUE(
        names(identity(), {budget("team=sales", "1usd/1d"), budget("org=Acme", "1usd/1d"),
                           rate("key=other", "rpm=1"), rate("key=0123456789abcdef", "rpm=1")})
            .empty());
}

TEST(ClaimsFor, AnUnknownIdentityMatchesNoRuleButGlobal) {
    EXPECT_TRUE(names(identity(), {budget("user=*", "1usd/1d")}).empty());
    EXPECT_EQ(names({}, {budget("team=*", "1usd/1d"), rate("key=*", "rpm=1"),
                         budget("global", "1usd/1d")}),
              (std::vector<std::string>{"global:usd:1d"}));
}

TEST(ClaimsFor, AKeyIsSelectedByAliasOrFullHash) {
    const llm::Identity who = identity();
    EXPECT_EQ(names(who, {rate("key=ci", "rpm=1")}).size(), 1u);
    EXPECT_EQ(names(who, {rate("key=" + who.key_hash, "rpm=1")}).size(), 1u);
}

TEST(ClaimsFor, StarAndExactNameShareACounterAndTheLowestLimit) {
    const std::vector<LimitRule> rules{rate("team=*", "tpm=100k"), rate("team=research", "tpm=20k"),
                                       rate("team=research", "tpm=2m")};
    const auto claims = claims_for(identity(), rules);
    ASSERT_EQ(claims.size(), 1u);
    EXPECT_EQ(claims[0].limit, 20'000);
    EXPECT_EQ(names(identity(), {budget("team=*", "1usd/60s"), budget("team=research", "2usd/1m")})
                  .size(),
              1u);
}

TEST(ClaimsFor, OneRuleIsEnoughForAnExpectedHold) {
    std::vector<LimitRule> rules{budget("team=research", "7usd/1d"), budget("team=*", "5usd/1d")};
    EXPECT_EQ(claims_for(identity(), rules).at(0).estimate, Estimate::bound);
    rules[1].estimate = Estimate::expected;
    EXPECT_EQ(claims_for(identity(), rules).at(0).estimate, Estimate::expected);
    std::swap(rules[0], rules[1]);
    EXPECT_EQ(claims_for(identity(), rules).at(0).estimate, Estimate::expected);
}

TEST(ClaimsFor, TheLimitIsNoPartOfTheCounter) {
    EXPECT_EQ(names(identity(), {rate("team=*", "rpm=1")}),
              names(identity(), {rate("team=*", "rpm=2")}));
}

TEST(ClaimsFor, NamesCannotCollide) {
    std::set<std::string> seen;
    const std::vector<std::string> teams{"a",
                                         "a:usd",
                                         "a%3Ausd",
                                         "a b",
                                         "a%20b",
                                         "a\tb",
                                         "a\nb",
                                         "a\x7f",
                                         "a%",
                                         "a:",
                                         std::string("a\0", 2),
                                         "\xc3\xa9"};
    for (const std::string& team : teams) {
        llm::Identity who;
        who.team = team;
        const auto name = names(who, {budget("team=*", "1usd/1d")}).at(0);
        EXPECT_TRUE(seen.insert(name).second) << name;
        EXPECT_EQ(std::count(name.begin(), name.end(), ':'), 3) << name;
        for (const char c : name) {
            EXPECT_TRUE(c > ' ' && c < 0x7f) << name;  // goes unchanged through JSON and Postgres
        }
    }
}

TEST(CounterId, IsTheFirstHalfOfTheNamesSha256) {
    // SHA-256("abc") = ba7816bf 8f01cfea 414140de 5dae2223 …
    const CounterId id = make_counter_id("abc");
    const auto* bytes = reinterpret_cast<const unsigned char*>(id.hash.data());
    const std::vector<unsigned char> first(bytes, bytes + 16);
    EXPECT_EQ(first, (std::vector<unsigned char>{0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea,
                                                 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23}));
    EXPECT_EQ(id.name, "abc");
}

std::vector<BudgetStep> steps(int64_t limit, const StepOptions& options) {
    auto parsed = parse_steps(limit, options);
    EXPECT_TRUE(parsed) << parsed.error();
    return *parsed;
}

TEST(BudgetSteps, ComeInTheOrderOfTheirShares) {
    using Action = BudgetStep::Action;
    EXPECT_TRUE(steps(100, {}).empty());
    EXPECT_EQ(steps(100, {"80%", "", {}}), (std::vector<BudgetStep>{{80, Action::alert, ""}}));
    EXPECT_EQ(steps(100, {"80%", "downgrade:a:b", {}}),
              (std::vector<BudgetStep>{{80, Action::downgrade, "a:b"}}));
    EXPECT_EQ(steps(100, {"", "allow", {}}), (std::vector<BudgetStep>{{100, Action::allow, ""}}));
    EXPECT_EQ(steps(1000, {"", "", {"100%:reject", "50%:alert", "80%:downgrade:mini"}}),
              (std::vector<BudgetStep>{{500, Action::alert, ""},
                                       {800, Action::downgrade, "mini"},
                                       {1000, Action::reject, ""}}));
}

TEST(BudgetSteps, SharesAreExact) {
    EXPECT_EQ(steps(kMaxLimit, {"99%", "", {}})[0].from, kMaxLimit / 100 * 99);
    EXPECT_EQ(steps(199, {"50%", "", {}})[0].from, 99);
    EXPECT_EQ(steps(199, {"100%", "", {}})[0].from, 199);
    EXPECT_EQ(steps(0, {"1%", "", {}})[0].from, 0);
}

TEST(BudgetSteps, RefusesWhatIsNone) {
    for (const char* text :
         {"", "50%", "50%:", "50:alert", "0%:alert", "101%:alert", "-5%:alert", "+5%:alert",
          "5.5%:alert", "%:alert", "50%:stop", "50%:downgrade", "50%:downgrade:", "alert:50%"}) {
        EXPECT_FALSE(parse_steps(100, {"", "", {text}})) << text;
    }
}

TEST(BudgetSteps, EndOnce) {
    EXPECT_FALSE(parse_steps(100, {"", "", {"80%:allow", "90%:reject"}}));
    EXPECT_FALSE(parse_steps(100, {"80%", "reject", {"100%:reject"}}));
    EXPECT_FALSE(parse_steps(100, {"", "allow", {"50%:allow"}}));
}

LimitRule stepped(std::string_view amount, const StepOptions& options) {
    LimitRule rule = budget("team=*", amount);
    rule.steps = steps(rule.limit, options);
    return rule;
}

TEST(Claims, WhatIsEnforcedFollowsFromTheSteps) {
    const auto claim = [](const std::vector<LimitRule>& rules) {
        const auto claims = claims_for(identity(), rules);
        EXPECT_EQ(claims.size(), 1U);
        return claims[0];
    };
    const LimitRule soft = stepped("5usd/1d", {"", "allow", {}});
    const LimitRule hard = stepped("10usd/1d", {"50%", "", {}});
    EXPECT_EQ(claim({soft}).limit, 5 * kUsd);
    EXPECT_EQ(claim({soft}).enforced, kMaxLimit);
    EXPECT_EQ(claim({soft, hard}).limit, 5 * kUsd);
    EXPECT_EQ(claim({soft, hard}).enforced, 10 * kUsd);
    EXPECT_EQ(claim({hard, soft}).steps.size(), 1U);
    const LimitRule early = stepped("10usd/1d", {"", "", {"90%:reject", "95%:alert"}});
    EXPECT_EQ(claim({early}).limit, 9 * kUsd);
    EXPECT_EQ(claim({early}).enforced, 9 * kUsd);
}

TEST(Claims, OfRequests) {
    std::vector<ClaimTemplate> claims;
    add_claim(claims, budget("customer=*", "1usd/1d"), "bob");
    add_claim(claims, budget("customer=bob", "2usd/1d"), "bob");
    add_claim(claims, budget("customer=alice", "2usd/1d"), "bob");
    add_claim(claims, budget("customer=*", "1usd/1d"), "");
    ASSERT_EQ(claims.size(), 1U);
    EXPECT_EQ(claims[0].counter.name, "customer:bob:usd:1d");
    EXPECT_EQ(claims[0].limit, kUsd);

    add_claim(claims, budget("by=$llm_team:$http_x", "1usd/1d"), "a:b");
    EXPECT_EQ(claims[1].counter.name, "by:$llm_team%3A$http_x:a%3Ab:usd:1d");
    EXPECT_EQ(claims[1].label, "group");
}

TEST(Claims, OfSomeModels) {
    LimitRule rule = budget("key=*", "1usd/1d");
    rule.models = "gpt-4*";
    const auto claims =
        claims_for(identity(), std::vector<LimitRule>{budget("key=*", "1usd/1d"), rule});
    ASSERT_EQ(claims.size(), 2U);
    EXPECT_EQ(claims[1].counter.name, "key:0123456789abcdef:model=gpt-4*:usd:1d");
    EXPECT_TRUE(claims[0].counts("o1"));
    EXPECT_FALSE(claims[1].counts("o1"));
    EXPECT_TRUE(claims[1].counts("gpt-4o"));
}

}  // namespace
}  // namespace ledger
