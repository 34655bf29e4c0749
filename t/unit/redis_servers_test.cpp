#include "io/redis_servers.hpp"

#include <gtest/gtest.h>

#include "io/redis_error.hpp"

using io::moved_to;
using io::RedisAddress;
using io::RedisServers;
using io::server_is_unfit;

namespace {

const RedisAddress kA{"127.0.0.1", 1}, kB{"127.0.0.1", 2}, kC{"127.0.0.1", 3};

RedisAddress learned(int i) {
    return {"127.0.1.1", static_cast<uint16_t>(i)};
}

}  // namespace

TEST(RedisServers, RoundAndRound) {
    RedisServers servers({kA, kB});
    EXPECT_EQ(servers.current(), kA);
    servers.next();
    EXPECT_EQ(servers.current(), kB);
    servers.next();
    EXPECT_EQ(servers.current(), kA);
}

TEST(RedisServers, LearnedOnesJoinTheRound) {
    RedisServers servers({kA, kB});
    EXPECT_FALSE(servers.go_to(RedisAddress(kB)));
    EXPECT_EQ(servers.current(), kB);
    EXPECT_TRUE(servers.go_to(RedisAddress(kC)));
    EXPECT_EQ(servers.current(), kC);
    EXPECT_EQ(servers.size(), 3);
    servers.next();
    EXPECT_EQ(servers.current(), kA);
}

TEST(RedisServers, OnlyTheLastLearnedOnesStay) {
    constexpr int kMost = RedisServers::kMostLearned;
    RedisServers servers({kA});
    for (int i = 1; i <= 2 * kMost + 3; ++i) {
        EXPECT_TRUE(servers.go_to(learned(i)));
        EXPECT_EQ(servers.current(), learned(i));
    }
    EXPECT_EQ(servers.size(), 1 + kMost);
    EXPECT_FALSE(servers.go_to(RedisAddress(kA)));
    for (int i = kMost + 4; i <= 2 * kMost + 3; ++i) {
        EXPECT_FALSE(servers.go_to(learned(i))) << i;
    }
    EXPECT_TRUE(servers.go_to(learned(kMost + 3)));
}

TEST(RedisServers, BeginWithNone) {
    RedisServers servers({});
    EXPECT_TRUE(servers.go_to(RedisAddress(kA)));
    EXPECT_EQ(servers.current(), kA);
}

TEST(RedisError, OfTheServer) {
    for (auto error :
         {"READONLY You can't write against a read only replica.",
          "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
          "NOREPLICAS Not enough good replicas to write.", "LOADING Redis is loading",
          "MOVED 3999 127.0.0.1:6381", "ASK 3999 127.0.0.1:6381", "CLUSTERDOWN The cluster is down",
          "TRYAGAIN Multiple keys request during rehashing of slot", "NOAUTH Authentication required.",
          "ERR Error running script (call to f_2fa6): @user_script:1: @user_script: 1: -READONLY You "
          "can't write against a read only replica."}) {
        EXPECT_TRUE(server_is_unfit(error)) << error;
    }
}

TEST(RedisError, OfTheCommand) {
    for (auto error : {"", "ERR unknown command", "NOSCRIPT No matching script.", "READONLYX",
                       "WRONGTYPE Operation against a key", "ERR Error running script",
                       "ERR Error running script (call to f_2fa6): READONLY: no"}) {
        EXPECT_FALSE(server_is_unfit(error)) << error;
    }
}

TEST(RedisError, MovedTo) {
    const RedisAddress asked{"10.0.0.1", 7000};
    EXPECT_EQ(moved_to("MOVED 3999 127.0.0.1:6381", asked), (RedisAddress{"127.0.0.1", 6381}));
    EXPECT_EQ(moved_to("MOVED 3999 ::1:6381", asked), (RedisAddress{"::1", 6381}));
    EXPECT_EQ(moved_to("MOVED 3999 :6381", asked), (RedisAddress{"10.0.0.1", 6381}));
    for (auto error : {"", "MOVED", "MOVED ", "MOVED 3999", "MOVED 3999 127.0.0.1",
                       "MOVED 3999 127.0.0.1:", "MOVED 3999 127.0.0.1:0", "MOVED 3999 127.0.0.1:65536",
                       "MOVED 3999 node.example:6381", "MOVED 3999 ?:6381", "MOVED 39:99 6381",
                       "ASK 3999 127.0.0.1:6381"}) {
        EXPECT_EQ(moved_to(error, asked), std::nullopt) << error;
    }
}

TEST(RedisError, SaysNoArgumentsOfUnknownCommands) {
    EXPECT_EQ(io::without_arguments("ERR unknown command `AUTH`, with args beginning with: `secret`, "),
              "ERR unknown command `AUTH`");
    EXPECT_EQ(io::without_arguments("WRONGPASS invalid"), "WRONGPASS invalid");
}
