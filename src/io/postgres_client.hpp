#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/fd_watcher.hpp"
#include "io/timer.hpp"

namespace io {

// Makes a connection string (keywords or URI) fit for use in the event loop: host names are
// resolved now (this blocks: for configuration time only), what libpq would wait for is switched
// off. `out` holds the password, if there is one; `error` never holds any part of the input.
bool prepare_conninfo(const std::string& conninfo, std::string& out, std::string& error);

struct PostgresTimeouts {
    ngx_msec_t connect_ms = 5000;
    ngx_msec_t statement_ms = 10000;  // the server is asked to give up a little earlier
};

// How one statement ended. It and its texts live as long as the call that is given it.
struct PostgresOutcome {
    // A value that it returned; empty for NULL too.
    std::string_view at(int row, int column) const noexcept {
        return {PQgetvalue(result, row, column),
                static_cast<size_t>(PQgetlength(result, row, column))};
    }

    bool ok = false;  // it is committed
    int rows = 0;     // that it returned
    const PGresult* result = nullptr;
    std::string_view sqlstate;  // five characters when the server refused it
    std::string_view message;   // the server's primary message, without details of a row
};

// One connection to Postgres in the worker's event loop, one statement at a time. Never blocks,
// except in `wait`. Reconnecting is the handler's business.
class PostgresClient final : private FdWatcher::Handler {
  public:
    // Any of these may be called within `connect` and `send` too; they may call both, and `close`.
    class Handler {
      public:
        virtual void on_postgres_ready() noexcept = 0;
        virtual void on_postgres_outcome(const PostgresOutcome& outcome) noexcept = 0;
        // No connection, or no longer one. A statement that was under way may be committed or not.
        virtual void on_postgres_lost(std::string_view why) noexcept = 0;
        // See FdWatcher.
        virtual void on_worker_closing() noexcept = 0;

      protected:
        ~Handler() = default;
    };

    // `conninfo` comes from prepare_conninfo.
    PostgresClient(std::string conninfo, PostgresTimeouts timeouts, Handler& handler);
    ~PostgresClient() { close(); }

    // Only when closed. Ends in on_postgres_ready or on_postgres_lost.
    void connect() noexcept;
    // Only when ready. Parameters in text format, nullptr is NULL; they are copied. Ends in
    // on_postgres_outcome or on_postgres_lost.
    void send(const std::string& sql, const std::vector<const char*>& parameters) noexcept;
    // Hangs up, without a call of the handler.
    void close() noexcept;

    bool closed() const noexcept { return state_ == State::closed; }
    bool ready() const noexcept { return state_ == State::ready; }
    bool busy() const noexcept { return state_ == State::busy; }

    // Waits for the socket and does what is to be done, for at most `max_ms`: for exit_process,
    // where there is no event loop any more.
    void wait(int max_ms) noexcept;

  private:
    enum class State : uint8_t { closed, connecting, ready, busy };

    struct Clear {
        void operator()(PGresult* result) const noexcept { PQclear(result); }
    };
    using Result = std::unique_ptr<PGresult, Clear>;

    void on_readable() noexcept override { drive(); }
    void on_writable() noexcept override { drive(); }
    void on_worker_closing() noexcept override { handler_.on_worker_closing(); }

    void drive() noexcept;
    void poll_connect(PostgresPollingStatusType direction) noexcept;
    void begin_session() noexcept;
    bool send_time_limit() noexcept;
    bool flush() noexcept;
    void receive() noexcept;
    void note(Result result);
    void finish_statement() noexcept;
    void lose(std::string_view why) noexcept;
    void lose_with_reason() noexcept;

    std::string conninfo_;
    PostgresTimeouts timeouts_;
    Handler& handler_;
    FdWatcher watcher_{*this};
    Timer timeout_;
    PGconn* conn_ = nullptr;
    State state_ = State::closed;
    bool write_pending_ = false;

    // Of the statement under way: its last result, and its first failure, if any.
    Result result_;
    bool failed_ = false;
    std::string sqlstate_;
    std::string message_;
};

}  // namespace io
