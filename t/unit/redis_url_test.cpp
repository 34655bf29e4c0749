#include "ledger/redis_url.hpp"

#include <gtest/gtest.h>
using ledger::parse_redis_url;
TEST(RedisUrl, Forms) {
    auto a = parse_redis_url("redis://127.0.0.1");
    ASSERT_TRUE(bool(a));
    EXPECT_EQ(a->address, "127.0.0.1");
    EXPECT_EQ(a->port, 6379);
    EXPECT_EQ(a->database, 0);
    a = parse_redis_url("redis://u%3A:p%40%2f@x:@[::1]:7000/12");
    ASSERT_TRUE(bool(a));
    EXPECT_EQ(a->address, "::1");
    EXPECT_EQ(a->port, 7000);
    EXPECT_EQ(a->database, 12);
    EXPECT_EQ(a->user, "u:");
    EXPECT_EQ(a->password, "p@/@x:");
    a = parse_redis_url("redis://:pw@localhost/");
    ASSERT_TRUE(bool(a));
    EXPECT_EQ(a->user, "");
    EXPECT_EQ(a->password, "pw");
    a = parse_redis_url("unix:/run/r.sock?db=3");
    ASSERT_TRUE(bool(a));
    EXPECT_EQ(a->socket_path, "/run/r.sock");
    EXPECT_EQ(a->database, 3);
    EXPECT_TRUE(a->address.empty());
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
                     "redis://[::1",
                     "redis://[::1]x",
                     "redis://:80",
                     "unix:r",
                     "unix:",
                     "unix:/a?x=1",
                     "unix:/a?db=",
                     "redis://127.0.0.1/1/2",
                     "redis://127.0.0.1:6379?db=1"}) {
        auto r = parse_redis_url(bad);
        EXPECT_FALSE(bool(r)) << bad;
        if (!r) {
            EXPECT_EQ(r.error().find("sec"), std::string::npos) << r.error();
           
        }
    }
    EXPECT_FALSE(bool(parse_redis_url("unix:/" + std::string(200, 'x'))));
}
