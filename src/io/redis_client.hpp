#pragma once

// A Redis connection of the worker's event loop: connects by itself, reconnects with backoff,
// pipelines. One connection serves all requests; commands of one turn of the loop go out in one
// write.

#include <deque>
#include <vector>

#include "io/fd_watcher.hpp"
#include "io/redis_command.hpp"
#include "io/redis_config.hpp"
#include "io/timer.hpp"

struct redisAsyncContext;
struct redisReply;

namespace io {

// Since the worker started.
struct RedisStats {
    uint64_t commands = 0;
    uint64_t timeouts = 0;
    uint64_t errors = 0;    // error replies
    uint64_t connects = 0;  // connections that became ready
    uint64_t losses = 0;    // ready connections that broke or were given up
};

class RedisClient final : private FdWatcher::Handler {
  public:
    // Hears what became of one command, always from the event loop and never from inside submit().
    // It must live until on_reply() and may end its life there. Both may submit commands; neither
    // may destroy the client.
    class ReplyHandler {
      public:
        // No reply within the timeout. on_reply() still follows: with the late reply, or with
        // nothing.
        virtual void on_timeout() noexcept = 0;
        // The last call. nullptr: the connection broke, and whether the command ran is not known.
        // The reply lives during the call only.
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
    RedisClient(RedisConfig config, std::vector<RedisCommand> setup, Observer& observer);
    ~RedisClient() { close(); }
    RedisClient(const RedisClient&) = delete;
    RedisClient& operator=(const RedisClient&) = delete;

    // Begins to connect, now rather than after a backoff. Nothing if a connection is there or being
    // made.
    void connect() noexcept;

    // Commands that wait hear on_reply(nullptr).
    void close() noexcept;

    // False: it does not accept commands or too much is pending; then the handler hears nothing.
    bool submit(const RedisCommand& command, ReplyHandler& handler) noexcept;

    bool ready() const noexcept { return state_ == State::ready; }
    // Commands are taken: also while the very first connection is being made, since "not yet" is no
    // outage. During an outage attempts to connect keep nobody waiting.
    bool accepts() const noexcept {
        return ready() || (state_ == State::connecting && !failure_reported_);
    }
    size_t pending() const noexcept { return pending_.size(); }
    const RedisStats& stats() const noexcept { return stats_; }

    // For exit_process, where the event loop is over: connects if need be and waits, blocking,
    // until every command has its reply, the connection fails or the time is over.
    void drain(int64_t max_ms) noexcept;

  private:
    enum class State : uint8_t { closed, waiting, connecting, ready, dropping };

    struct Pending {
        ReplyHandler* handler;  // nullptr: a command of the connection's set-up
        ngx_msec_t sent;
    };

    void on_readable() noexcept override;
    void on_writable() noexcept override;
    // The connection stays: requests that are still running will settle over it. It does not keep
    // the worker, and exit_process closes it.
    void on_worker_closing() noexcept override {}

    bool open() noexcept;
    bool send_setup() noexcept;
    bool send(const RedisCommand& command, ReplyHandler* handler) noexcept;
    void hook_events() noexcept;
    void want_write() noexcept;
    void take_reply(const redisReply& reply) noexcept;
    void take_setup_reply(const redisReply& reply) noexcept;
    void end_outage() noexcept;
    void drop(std::string_view why) noexcept;
    void lost() noexcept;
    void reconnect_later() noexcept;
    void report_failure(std::string_view why) noexcept;
    void check_deadlines() noexcept;
    void arm_deadline(ngx_msec_t now) noexcept;
    void link_timer_fired() noexcept;

    RedisConfig config_;
    std::vector<RedisCommand> setup_;  // complete, with AUTH and SELECT: holds the password
    Observer& observer_;
    State state_ = State::closed;
    redisAsyncContext* ac_ = nullptr;  // hiredis's; it ends in lost()
    FdWatcher watcher_;
    ngx_event_t flush_{};   // posted: write at the end of this turn of the loop
    bool writing_ = false;  // inside redisAsyncHandleWrite
    bool want_write_ = false;
    // In the order of sending, which is the order of replies. The first `timed_out_` ones have
    // heard so.
    std::deque<Pending> pending_;
    size_t timed_out_ = 0;
    size_t setup_left_ = 0;
    ngx_msec_t backoff_ms_;
    bool failure_reported_ = false;
    Timer reply_timer_;
    Timer link_timer_;  // connecting: its timeout; waiting: the backoff
    RedisStats stats_;
};

}  // namespace io
