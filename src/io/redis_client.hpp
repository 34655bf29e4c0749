#pragma once

// The worker's pipeline to the primary: one connection serves all requests, each command has its
// timeout.

#include <deque>
#include <string>
#include <vector>

#include "io/redis_link.hpp"

namespace io {

// Since the worker started.
struct RedisStats {
    uint64_t commands = 0;
    uint64_t timeouts = 0;
    uint64_t errors = 0;    // error replies
    uint64_t connects = 0;  // connections that became ready
    uint64_t losses = 0;    // ready connections that broke or were given up
};

class RedisClient final : private RedisLink::Handler {
  public:
    // Hears what became of one command, always from the event loop and never from inside submit().
    // It must live until on_reply() and may end its life there. Both may submit commands; neither
    // may destroy the client.
    class ReplyHandler {
      public:
        // No reply within the timeout. on_reply() still follows: with the late reply, or with
        // nothing.
        virtual void on_timeout() noexcept = 0;
        // The last call. nullptr: the connection broke, or none was there in time; whether the
        // command ran is not known. The reply lives during the call only.
        virtual void on_reply(const redisReply* reply) noexcept = 0;

      protected:
        ~ReplyHandler() = default;
    };

    class Observer {
      public:
        virtual void on_ready() noexcept = 0;  // (again) connected: commands are accepted

      protected:
        ~Observer() = default;
    };

    // `setup`: sent after AUTH and SELECT on every connection; an error reply fails the connection.
    RedisClient(const RedisConfig& config, std::vector<RedisCommand> setup, Observer& observer);
    ~RedisClient() { close(); }
    RedisClient(const RedisClient&) = delete;
    RedisClient& operator=(const RedisClient&) = delete;

    // Begins to connect, now rather than after a backoff. Nothing if a connection is there or being
    // made.
    void connect() noexcept { link_.connect(); }

    // Commands that wait hear on_reply(nullptr).
    void close() noexcept;

    // False: it does not accept commands or too much is pending; then the handler hears nothing.
    bool submit(const RedisCommand& command, ReplyHandler& handler) noexcept;

    bool ready() const noexcept { return link_.ready(); }
    // Commands are taken: also while the very first connection or one in place of a lost one is
    // being made, since that takes a moment as a rule and those who wait have their timeout. During
    // an outage attempts to connect keep nobody waiting.
    bool accepts() const noexcept { return ready() || (link_.trying() && !link_.outage()); }
    size_t pending() const noexcept { return pending_.size(); }
    const RedisStats& stats() const noexcept { return stats_; }

    // For exit_process, where the event loop is over: connects if need be and waits, blocking,
    // until every command has its reply, a whole round of attempts has failed or the time is over.
    void drain(int64_t max_ms) noexcept;

  private:
    struct Pending {
        ReplyHandler* handler;
        ngx_msec_t since;
        std::string unsent;  // the wire form while there is no connection yet; empty: sent
    };

    void on_ready() noexcept override;
    void on_reply(const redisReply* reply) noexcept override;
    void on_lost() noexcept override;
    void on_outage() noexcept override { fail_pending(); }

    void fail_pending() noexcept;
    void check_deadlines() noexcept;
    void check_replies(ngx_msec_t now) noexcept;
    void arm_deadline(ngx_msec_t now) noexcept;

    const ngx_msec_t timeout_ms_;
    const size_t max_pending_;
    Observer& observer_;
    // In the order of submission, which is the order of replies. The first `timed_out_` ones have
    // heard so. All are sent when the link is ready, else none.
    std::deque<Pending> pending_;
    size_t timed_out_ = 0;
    Timer reply_timer_;
    RedisStats stats_;
    RedisLink link_;
};

}  // namespace io
