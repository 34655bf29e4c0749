#pragma once

// One connection to a Redis server or a Sentinel, in the worker's event loop. Commands of one turn
// of the loop go out in one write.

#include <array>
#include <string_view>

#include "io/fd_watcher.hpp"
#include "io/redis_address.hpp"

struct redisAsyncContext;
struct redisReply;

namespace io {

class RedisConnection final : private FdWatcher::Handler {
  public:
    // It may send, close, and in on_closed() open again.
    class Handler {
      public:
        // To the oldest command that has none. The reply lives during the call only.
        virtual void on_reply(const redisReply& reply) noexcept = 0;
        // It is over, see error(); commands that have no reply get none.
        virtual void on_closed() noexcept = 0;

      protected:
        ~Handler() = default;
    };

    explicit RedisConnection(Handler& handler) noexcept;
    // The handler hears of it.
    ~RedisConnection() { close(); }
    RedisConnection(const RedisConnection&) = delete;
    RedisConnection& operator=(const RedisConnection&) = delete;

    // Begins to connect; commands may be sent at once. It must not be open. False: it cannot be
    // tried, see error(); the handler hears nothing.
    bool open(const RedisAddress& server) noexcept;
    // `wire`: one command. False: out of memory, or closing.
    bool send(std::string_view wire) noexcept;
    // on_closed() follows: at once, or after the on_reply() that this is called from.
    void close(std::string_view why = {}) noexcept;
    bool is_open() const noexcept { return ac_ != nullptr; }
    // Why it is not open.
    std::string_view error() const noexcept { return error_.data(); }

    // For exit_process, where the event loop is over: waits for its socket, at most `max_ms`, and
    // reads and writes what it can.
    void poll(int max_ms) noexcept;

  private:
    void on_readable() noexcept override;
    void on_writable() noexcept override;
    // It stays: requests that are still running settle over it. It does not keep the worker, and
    // exit_process closes it.
    void on_worker_closing() noexcept override {}

    void hook_events() noexcept;
    void want_write() noexcept;
    void ended() noexcept;
    void keep_error(std::string_view text) noexcept;

    Handler& handler_;
    redisAsyncContext* ac_ = nullptr;  // hiredis's; it ends in ended()
    FdWatcher watcher_;
    ngx_event_t flush_{};   // posted: write at the end of this turn of the loop
    bool writing_ = false;  // inside redisAsyncHandleWrite
    bool want_write_ = false;
    bool closing_ = false;
    std::array<char, 128> error_{};
};

}  // namespace io
