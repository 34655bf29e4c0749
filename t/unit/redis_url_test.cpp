#include "ledger/redis_url.hpp"

#include <gtest/gtest.h>

using io::RedisAddress;
using ledger::parse_redis_url;
using Servers = std::vector<RedisAddress>;

TEST(RedisUrl, OneServer) {
    auto a = parse_redis_url("redis://127.0.0.1");
    ASSERT_TRUE(bool(a));
    EXPECT_EQ(a->servers, (Servers{{"127.0.0.1", 6379}}));
    EXPECT_EQ(a->database, 0);
    EXPECT_EQ(a->primary_name, "");
    a = parse_redis_url("redis://u%3A:p%40%2f@x:@[::1]:7000/12");
    ASSERT_TRUE(bool(a));
    EXPECT_EQ(a->servers, (Servers{{"::1", 7000}}));
    EXPECT_EQ(a->database, 12);
    EXPECT_EQ(a->credentials.user, "u:");
    EXPECT_EQ(a->credentials.password, "p@/@x:");
    a = parse_redis_url("redis://:p/w@127.0.0.1/");
    ASSERT_TRUE(bool(a));
    EXPECT_EQ(a->credentials.user, "");
    EXPECT_EQ(a->credentials.password, "p/w");
    a = parse_redis_url("unix:/run/r.sock?db=3");
    ASSERT_TRUE(bool(a));
    EXPECT_EQ(a->servers, (Servers{{"/run/r.sock", 0}}));
    EXPECT_EQ(a->database, 3);
}

TEST(RedisUrl, SeveralServers) {
    auto a = parse_redis_url("redis://:pw@127.0.0.1:7001,[::1],127.0.0.3:7003/2");
    ASSERT_TRUE(bool(a)) << a.error();
    EXPECT_EQ(a->servers, (Servers{{"127.0.0.1", 7001}, {"::1", 6379}, {"127.0.0.3", 7003}}));
    EXPECT_EQ(a->credentials.password, "pw");
    EXPECT_EQ(a->database, 2);
    a = parse_redis_url("redis://127.0.0.1,127.0.0.1:6379");
    ASSERT_TRUE(bool(a));
    EXPECT_EQ(a->servers.size(), 1);
}

TEST(RedisUrl, ANameStandsForAllItsAddresses) {
    const auto a = parse_redis_url("redis://localhost:7000");
    ASSERT_TRUE(bool(a));
    const RedisAddress v4{"127.0.0.1", 7000};
    EXPECT_EQ(std::count(a->servers.begin(), a->servers.end(), v4), 1);
}

TEST(RedisUrl, Sentinels) {
    auto a = parse_redis_url("redis+sentinel://127.0.0.1,127.0.0.2:7000/my-primary.1_");
    ASSERT_TRUE(bool(a)) << a.error();
    EXPECT_EQ(a->servers, (Servers{{"127.0.0.1", 26379}, {"127.0.0.2", 7000}}));
    EXPECT_EQ(a->primary_name, "my-primary.1_");
    EXPECT_EQ(a->database, 0);
    EXPECT_EQ(a->credentials.password, "");
    EXPECT_EQ(a->sentinel_credentials.password, "");
    a = parse_redis_url(
        "redis+sentinel://bob:p%3Fw@[::1]/m/4?sentinel_username=eve&sentinel_password=s%26/@");
    ASSERT_TRUE(bool(a)) << a.error();
    EXPECT_EQ(a->servers, (Servers{{"::1", 26379}}));
    EXPECT_EQ(a->primary_name, "m");
    EXPECT_EQ(a->database, 4);
    EXPECT_EQ(a->credentials.user, "bob");
    EXPECT_EQ(a->credentials.password, "p?w");
    EXPECT_EQ(a->sentinel_credentials.user, "eve");
    EXPECT_EQ(a->sentinel_credentials.password, "s&/@");
}

TEST(RedisUrl, Refused) {
    for (auto bad : {"",
                     "redis:",
                     "redis://",
                     "rediss://h",
                     "redis://h:0",
                     "redis://h:65536",
                     "redis://h:",
                     "redis://127.0.0.1/x",
                     "redis://127.0.0.1/-1",
                     "redis://secret@127.0.0.1",
                     "redis://:@127.0.0.1",
                     "redis://:sec%zret@127.0.0.1",
                     "redis://:secret%4",
                     "redis://:s%@127.0.0.1",
                     "redis://:secret@no.such.host.invalid",
                     "redis://127.0.0.1,secret.invalid",
                     "redis://[::1",
                     "redis://[::1]x",
                     "redis://:80",
                     "redis://127.0.0.1,",
                     "redis://,127.0.0.1",
                     "redis://127.0.0.1,,127.0.0.2",
                     "redis://127.0.0.1/1,127.0.0.2/1",
                     "unix:r",
                     "unix:",
                     "unix:/a?x=1",
                     "unix:/a?db=",
                     "redis://127.0.0.1/1/2",
                     "redis://127.0.0.1:6379?db=1",
                     "sentinel://127.0.0.1/m",
                     "redis+sentinel://127.0.0.1",
                     "redis+sentinel://127.0.0.1/",
                     "redis+sentinel:///m",
                     "redis+sentinel://127.0.0.1/a b",
                     "redis+sentinel://127.0.0.1/m/x",
                     "redis+sentinel://127.0.0.1/m/1/2",
                     "redis+sentinel://secret@127.0.0.1/m",
                     "redis+sentinel://127.0.0.1/m?",
                     "redis+sentinel://127.0.0.1/m?db=1",
                     "redis+sentinel://127.0.0.1/m?secret",
                     "redis+sentinel://127.0.0.1/m?sentinel_password=",
                     "redis+sentinel://127.0.0.1/m?sentinel_password=sec%ret",
                     "redis+sentinel://127.0.0.1/m?sentinel_username=secret",
                     "redis+sentinel://:secret?@127.0.0.1/m"}) {
        const auto r = parse_redis_url(bad);
        ASSERT_FALSE(bool(r)) << bad;
        EXPECT_EQ(r.error().find("sec"), std::string::npos) << r.error();
        EXPECT_EQ(r.error().find("redis url: "), 0) << r.error();
    }
    EXPECT_FALSE(bool(parse_redis_url("unix:/" + std::string(200, 'x'))));
}
