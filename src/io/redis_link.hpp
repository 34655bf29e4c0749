#pragma once

// Keeps a connection to the primary: finds it, logs in, and when it is lost or turns out to be no
// primary any more, finds the next one.
//
// It is found
//   - in a list: one server after the other, until ROLE says that it is a primary; a node of a
//     Cluster names the right one itself (MOVED), which then joins the list;
//   - or by Sentinels. They are asked again every second while all is well, because a primary that
//     they have replaced goes on serving for about ten seconds if it can be reached: whatever it
//     counts in that time is lost.
// Attempts follow each other at once until a whole round of them has failed: that is an outage,
// and between the rounds of an outage there is a backoff.

#include <memory>
#include <vector>

#include "io/redis_command.hpp"
#include "io/redis_config.hpp"
#include "io/redis_connection.hpp"
#include "io/redis_sentinel.hpp"
#include "io/redis_servers.hpp"
#include "io/timer.hpp"

namespace io {

class RedisLink final : private RedisConnection::Handler, private RedisSentinel::Observer {
  public:
    class Handler {
      public:
        virtual void on_ready() noexcept = 0;
        // To the oldest command that has none; it lives during the call only. nullptr: the server
        // was unfit to run it; on_lost() follows.
        virtual void on_reply(const redisReply* reply) noexcept = 0;
        // Not ready any more. Commands without a reply get none: whether they ran is not known.
        virtual void on_lost() noexcept = 0;
        // No server in a whole round.
        virtual void on_outage() noexcept = 0;

      protected:
        ~Handler() = default;
    };

    // `setup`: sent after AUTH and SELECT on every connection; an error reply fails the connection.
    RedisLink(const RedisConfig& config, std::vector<RedisCommand> setup, Handler& handler);
    ~RedisLink() { close(); }
    RedisLink(const RedisLink&) = delete;
    RedisLink& operator=(const RedisLink&) = delete;

    // Begins a round, now rather than after a backoff. Nothing if it is ready or trying.
    void connect() noexcept;
    // on_lost() follows if it was ready.
    void close() noexcept;
    // Only when ready. False: out of memory.
    bool send(const RedisCommand& command) noexcept { return send(command.wire()); }
    bool send(std::string_view wire) noexcept { return connection_.send(wire); }
    // Ends this connection: its server does not serve as it should.
    void drop(std::string_view why) noexcept;
    // As if a whole round had failed; the attempts go on.
    void begin_outage(std::string_view why) noexcept;

    bool ready() const noexcept { return state_ == State::ready; }
    bool trying() const noexcept { return state_ == State::asking || state_ == State::connecting; }
    // From a round without success until a command has been served.
    bool outage() const noexcept { return outage_; }

    // For exit_process, as RedisConnection::poll().
    void poll(int max_ms) noexcept;

  private:
    enum class State : uint8_t { closed, waiting, asking, connecting, ready, dropping };

    void on_reply(const redisReply& reply) noexcept override;
    void on_closed() noexcept override;
    void on_primary(RedisAddress&& primary) noexcept override;
    void on_no_primary(const RedisAddress& sentinel, std::string_view why) noexcept override;

    std::unique_ptr<RedisSentinel> make_sentinel(const RedisConfig& config);
    void try_server() noexcept;
    void open() noexcept;
    bool send_setup() noexcept;
    void take_setup_reply(const redisReply& reply) noexcept;
    void become_ready() noexcept;
    void served() noexcept;
    bool leave_if_unfit(std::string_view error) noexcept;
    bool follow(std::string_view error) noexcept;
    size_t round() const noexcept { return sentinel_ != nullptr ? 1 : servers_.size(); }
    void failed(const RedisAddress& server, std::string_view why) noexcept;
    void begin_round_if_stable() noexcept;
    void log_failure(const RedisAddress& server, std::string_view why) noexcept;
    void try_again() noexcept;
    void timer_fired() noexcept;

    Handler& handler_;
    std::vector<RedisCommand> setup_;  // complete, with AUTH and SELECT: holds the password
    RedisServers servers_;
    std::unique_ptr<RedisSentinel> sentinel_;  // nullptr: `servers_` are all there are
    RedisConnection connection_;
    State state_ = State::closed;
    size_t setup_left_ = 0;     // replies to the set-up
    size_t attempts_left_ = 0;  // in this round
    bool was_ready_ = false;    // this connection, until it is closed
    ngx_msec_t ready_at_ = 0;
    ngx_msec_t backoff_ms_;
    bool outage_ = false;
    bool failure_logged_ = false;
    Timer timer_;  // connecting: its timeout; waiting: the backoff; ready: to ask Sentinels again
};

}  // namespace io
