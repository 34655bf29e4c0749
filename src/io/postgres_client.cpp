#include "io/postgres_client.hpp"

#include <poll.h>

namespace io {

namespace {

void ignore_notice(void*, const PGresult*) noexcept {}

// libpq ends its messages with a newline, and may put several lines into one.
std::string one_line(const char* text) {
    std::string line = text != nullptr ? text : "";
    while (!line.empty() && line.back() == '\n') {
        line.pop_back();
    }
    for (char& c : line) {
        c = c == '\n' || c == '\t' ? ' ' : c;
    }
    return line;
}

}  // namespace

PostgresClient::PostgresClient(std::string conninfo, PostgresTimeouts timeouts, Handler& handler)
    : conninfo_(std::move(conninfo)),
      timeouts_(timeouts),
      handler_(handler),
      timeout_(
          [](void* owner) noexcept {
              auto* self = static_cast<PostgresClient*>(owner);
              self->lose(self->state_ == State::busy ? "the statement timed out"
                                                     : "connecting timed out");
          },
          this) {}

void PostgresClient::connect() noexcept {
    state_ = State::connecting;
    timeout_.arm(timeouts_.connect_ms);
    conn_ = PQconnectStart(conninfo_.c_str());
    if (conn_ == nullptr || PQstatus(conn_) == CONNECTION_BAD) {
        lose_with_reason();
        return;
    }
    PQsetNoticeReceiver(conn_, ignore_notice, nullptr);
    poll_connect(PGRES_POLLING_WRITING);
}

void PostgresClient::send(const std::string& sql,
                          const std::vector<const char*>& parameters) noexcept {
    state_ = State::busy;
    result_.reset();
    failed_ = false;
    timeout_.arm(timeouts_.statement_ms);
    if (!send_time_limit() ||
        PQsendQueryParams(conn_, sql.c_str(), static_cast<int>(parameters.size()), nullptr,
                          parameters.data(), nullptr, nullptr, 0) == 0 ||
        PQpipelineSync(conn_) == 0 || !flush()) {
        lose_with_reason();
    }
}

// The server gives up a statement before we do: otherwise one that waits for a lock would stay
// behind when we hang up, and every retry would leave one more. For this transaction, that is up to
// the pipeline's end, not for the session: a pooler lends that to others.
bool PostgresClient::send_time_limit() noexcept {
    char text[NGX_INT64_LEN + 1];
    *ngx_sprintf(reinterpret_cast<u_char*>(text), "%M", timeouts_.statement_ms * 9 / 10) = '\0';
    const char* parameter = text;
    return PQsendQueryParams(conn_, "SELECT set_config('statement_timeout', $1, true)", 1, nullptr,
                             &parameter, nullptr, nullptr, 0) != 0;
}

void PostgresClient::close() noexcept {
    timeout_.cancel();
    // libpq has closed the socket already when it found the connection dead.
    watcher_.detach(PQsocket(conn_) == -1);
    PQfinish(std::exchange(conn_, nullptr));
    write_pending_ = false;
    state_ = State::closed;
}

void PostgresClient::wait(int max_ms) noexcept {
    pollfd socket{PQsocket(conn_), POLLIN, 0};
    if (write_pending_) {
        socket.events |= POLLOUT;
    }
    if (::poll(&socket, 1, max_ms) > 0) {
        drive();
    }
}

void PostgresClient::drive() noexcept {
    if (state_ == State::connecting) {
        watcher_.detach();  // PQconnectPoll may go on with another socket of the same number
        poll_connect(PQconnectPoll(conn_));
        return;
    }
    if (PQconsumeInput(conn_) == 0 || !flush()) {
        lose_with_reason();
        return;
    }
    receive();
}

void PostgresClient::poll_connect(PostgresPollingStatusType direction) noexcept {
    if (direction == PGRES_POLLING_FAILED) {
        lose_with_reason();
        return;
    }
    if (!watcher_.attach(PQsocket(conn_))) {
        lose("no free worker connection");
        return;
    }
    if (direction == PGRES_POLLING_OK) {
        begin_session();
        return;
    }
    const bool watched =
        direction == PGRES_POLLING_READING ? watcher_.want_read(true) : watcher_.want_write(true);
    if (!watched) {
        lose("the socket cannot be watched");
    }
}

void PostgresClient::begin_session() noexcept {
    if (PQsetnonblocking(conn_, 1) != 0 || PQenterPipelineMode(conn_) == 0 ||
        !watcher_.want_read(true)) {
        lose_with_reason();
        return;
    }
    timeout_.cancel();
    state_ = State::ready;
    handler_.on_postgres_ready();
}

bool PostgresClient::flush() noexcept {
    const int left = PQflush(conn_);
    write_pending_ = left == 1;
    return left >= 0 && watcher_.want_write(write_pending_);
}

// A null result ends those of one statement of the pipeline, two in a row end all that have come.
void PostgresClient::receive() noexcept {
    bool ended = false;
    while (PQisBusy(conn_) == 0) {
        Result result(PQgetResult(conn_));
        if (!result) {
            if (std::exchange(ended, true)) {
                return;
            }
            continue;
        }
        ended = false;
        const bool last = PQresultStatus(result.get()) == PGRES_PIPELINE_SYNC;
        note(std::move(result));
        if (last) {
            finish_statement();
            return;
        }
    }
}

void PostgresClient::note(Result result) {
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_PIPELINE_SYNC || failed_) {
        return;
    }
    result_ = std::move(result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        return;
    }
    const char* sqlstate = PQresultErrorField(result_.get(), PG_DIAG_SQLSTATE);
    const char* message = PQresultErrorField(result_.get(), PG_DIAG_MESSAGE_PRIMARY);
    failed_ = true;
    sqlstate_ = sqlstate != nullptr ? sqlstate : "";
    message_ = one_line(message != nullptr ? message : PQresultErrorMessage(result_.get()));
}

// Not before the pipeline's end is it known whether a statement is committed.
void PostgresClient::finish_statement() noexcept {
    if (PQstatus(conn_) == CONNECTION_BAD) {
        lose_with_reason();
        return;
    }
    timeout_.cancel();
    state_ = State::ready;
    const Result result = std::move(result_);
    handler_.on_postgres_outcome(
        {!failed_, PQntuples(result.get()), result.get(), sqlstate_, message_});
}

void PostgresClient::lose_with_reason() noexcept {
    lose(conn_ != nullptr ? one_line(PQerrorMessage(conn_)) : std::string("out of memory"));
}

void PostgresClient::lose(std::string_view why) noexcept {
    close();
    handler_.on_postgres_lost(why);
}

}  // namespace io
