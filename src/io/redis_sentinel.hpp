#pragma once

// Asks Sentinels which server is the primary of a group.
// https://redis.io/docs/latest/develop/reference/sentinel-clients/

#include "io/redis_command.hpp"
#include "io/redis_config.hpp"
#include "io/redis_connection.hpp"
#include "io/redis_servers.hpp"
#include "io/timer.hpp"

namespace io {

class RedisSentinel final : private RedisConnection::Handler {
  public:
    // Both may come from inside ask(), and may ask() again.
    class Observer {
      public:
        virtual void on_primary(RedisAddress&& primary) noexcept = 0;
        // None of them can tell; this is the last one that was asked.
        virtual void on_no_primary(const RedisAddress& sentinel, std::string_view why) noexcept = 0;

      protected:
        ~Observer() = default;
    };

    RedisSentinel(const RedisConfig& config, Observer& observer);
    ~RedisSentinel() { close(); }
    RedisSentinel(const RedisSentinel&) = delete;
    RedisSentinel& operator=(const RedisSentinel&) = delete;

    // Asks the one that answered last, if that fails the next, until one can tell or all have been
    // asked. Each has half a second. Nothing if it is asking already.
    void ask() noexcept;
    // The one that answered last is wrong, so another is asked first next time. Not while it asks.
    void pass_over() noexcept;
    // The observer hears nothing more.
    void close() noexcept;

    // For exit_process, as RedisConnection::poll().
    void poll(int max_ms) noexcept;

  private:
    void on_reply(const redisReply& reply) noexcept override;
    void on_closed() noexcept override;

    void ask_current() noexcept;
    bool log_in() noexcept;
    void take_address(const redisReply& reply) noexcept;
    void ask_next() noexcept;
    bool asking() const noexcept { return left_ > 0; }

    Observer& observer_;
    RedisServers sentinels_;
    std::vector<RedisCommand> login_;  // AUTH, if any: holds the password
    RedisCommand question_;
    RedisConnection connection_;  // stays open, for the next time
    Timer timer_;
    size_t left_ = 0;        // to be asked, with the present one; 0: not asking
    size_t login_left_ = 0;  // replies to it
};

}  // namespace io
