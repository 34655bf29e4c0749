#include "spend/postgres_writer.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <utility>

namespace spend {

namespace {

constexpr ngx_msec_t kFirstBackoffMs = 100;
constexpr ngx_msec_t kLongestBackoffMs = 10000;
constexpr ngx_msec_t kScanEveryMs = 5000;
constexpr ngx_msec_t kIdleMs = 10000;  // after which the connection is given back

// What one turn of the event loop parses, so that requests do not wait for longer than 1 ms.
constexpr size_t kSliceRows = 250;
constexpr size_t kSliceBytes = size_t{256} << 10;

// What one statement may take when there is much to catch up on; and at any time, however long its
// rows are.
constexpr size_t kCatchUpRows = 10'000;
constexpr size_t kMaxBatchBytes = size_t{16} << 20;

int64_t steady_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

// The server refused the data and will again: data exception, constraint violation, or a program
// limit (a text too long for an index).
bool is_data_error(std::string_view sqlstate) noexcept {
    if (sqlstate == "23514") {
        return false;  // no partition for the day: the row is good, the table is not ready for it
    }
    const std::string_view kind = sqlstate.substr(0, 2);
    return kind == "22" || kind == "23" || kind == "54";
}

bool append_to_file(const std::string& path, const std::string& text) noexcept {
    const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::close(fd);
    return written;
}

void log(ngx_uint_t level, const char* what, std::string_view why) noexcept {
    ngx_log_error(level, ngx_cycle->log, 0, "llm spend: %s: %*s", what, why.size(), why.data());
}

}  // namespace

PostgresWriter::PostgresWriter(WriterConfig config, Spool& spool, io::TurnQueue& turns)
    : config_(std::move(config)),
      spool_(spool),
      turns_(turns),
      reader_(spool),
      client_(config_.conninfo, config_.timeouts, *this),
      wake_([](void* owner) noexcept { static_cast<PostgresWriter*>(owner)->step(); }, this),
      scan_([](void* owner) noexcept { static_cast<PostgresWriter*>(owner)->scan(); }, this),
      hold_([](void*) noexcept {}, this),
      row_limit_(config_.batch),
      backoff_ms_(kFirstBackoffMs) {
    hold_.set_keeps_worker(true);
    if (config_.tends_partitions) {
        upkeep_.emplace(config_.keep_days);
    }
}

// Runs one turn of work: what it throws (out of memory) costs a retry, not the worker.
template <class Work>
void PostgresWriter::guard(Work work) noexcept {
    try {
        work();
        if (const std::string error = spool_.take_error(); !error.empty()) {
            log(NGX_LOG_ERR, "spool", error);
        }
    } catch (const std::exception& e) {
        log(NGX_LOG_ERR, "a batch failed", e.what());
        back_off();
    }
}

PostgresWriter::~PostgresWriter() {
    leave_queue();
}

void PostgresWriter::on_turn() noexcept {
    in_queue_ = false;
    step();
}

void PostgresWriter::start() noexcept {
    scan();
    client_.connect();
}

void PostgresWriter::notify_appended() noexcept {
    ++appended_;
    if (ngx_exiting) {
        hold_worker();
    }
    if (client_.closed() && !retrying_) {
        client_.connect();  // it was given back
    }
    if (retrying_ || !client_.ready()) {
        return;
    }
    if (ngx_exiting || appended_ == config_.batch) {
        wake_now();
    } else if (!wake_.armed() && !in_queue_) {
        wake_.arm(config_.flush_ms);
    }
}

// Adds one slice to the batch; sends it when it is full or there is no more to read.
void PostgresWriter::step() noexcept {
    leave_queue();
    retrying_ = false;
    if (client_.closed()) {
        client_.connect();
        return;
    }
    if (!client_.ready()) {
        return;
    }
    guard([this] {
        if (tend_partitions()) {
            return;
        }
        if (fill_batch()) {
            wake_now();
        } else if (columns_.rows() > 0) {
            wake_.cancel();
            send_batch();
        } else {
            batch_stored();
        }
    });
}

// The rows are new, but for those of a batch of which it is not known whether it was committed.
void PostgresWriter::send_batch() {
    client_.send(skips_stored_ ? Columns::insert_missing_statement() : Columns::insert_statement(),
                 columns_.parameters());
}

// Between two batches. True: a statement is under way.
bool PostgresWriter::tend_partitions() {
    if (!upkeep_ || !upkeep_->due() || columns_.rows() > 0 || ngx_exiting || ngx_terminate) {
        return false;
    }
    tending_ = true;
    client_.send(upkeep_->statement(), upkeep_->parameters());
    return true;
}

// True: there is room in the batch and more to read.
bool PostgresWriter::fill_batch() {
    if (columns_.rows() == 0) {
        appended_ = 0;
    }
    lines_.clear();
    const size_t room = row_limit_ - columns_.rows();
    const bool more = reader_.read(std::min(room, kSliceRows), kSliceBytes, lines_);
    for (const std::string_view line : lines_) {
        batch_bytes_ += line.size();
        if (!columns_.add(line)) {
            rejected_.emplace_back(line);
        } else if (columns_.rows() == 1) {
            first_line_ = line;
        }
    }
    return more && !batch_full();
}

bool PostgresWriter::batch_full() const noexcept {
    return columns_.rows() + rejected_.size() >= row_limit_ || batch_bytes_ >= kMaxBatchBytes;
}

size_t PostgresWriter::most_rows() const noexcept {
    return reader_.catching_up() ? std::max(config_.batch, kCatchUpRows) : config_.batch;
}

void PostgresWriter::on_postgres_outcome(const io::PostgresOutcome& outcome) noexcept {
    used_at_ms_ = ngx_current_msec;
    if (std::exchange(tending_, false)) {
        upkeep_->finished(outcome);
        wake_now();
        return;
    }
    guard([&] {
        if (outcome.ok) {
            backoff_ms_ = kFirstBackoffMs;
            ++counters_.batches;
            batch_stored();
        } else {
            batch_refused(outcome);
        }
    });
}

// All that was read is in the database or in the file of the rejected: the spool may forget it.
void PostgresWriter::batch_stored() {
    if (!store_rejected()) {
        log(NGX_LOG_ERR, "cannot write rejected.jsonl", std::strerror(errno));
        back_off();
        return;
    }
    const bool full = batch_full();
    counters_.rows_committed += columns_.rows();
    counters_.rows_rejected += rejected_.size();
    row_limit_ = std::min(row_limit_ * 2, most_rows());
    const bool progress = reader_.commit();
    clear_batch();

    if (reader_.backlog_bytes() == 0) {
        hold_.cancel();
    } else if (!progress) {
        back_off();  // what is left cannot be read
    } else if (full || appended_ >= config_.batch || reader_.catching_up() || ngx_exiting) {
        wake_now();
    } else {
        wake_.arm(config_.flush_ms);
    }
}

bool PostgresWriter::store_rejected() {
    if (rejected_.empty()) {
        return true;
    }
    std::string text;
    for (const std::string& line : rejected_) {
        text.append(line).push_back('\n');
    }
    return append_to_file(spool_.directory() + "/rejected.jsonl", text);
}

void PostgresWriter::batch_refused(const io::PostgresOutcome& outcome) {
    if (outcome.sqlstate == Columns::kUniqueViolation && !skips_stored_) {
        skips_stored_ = true;
        send_batch();
        return;
    }
    ++counters_.pg_errors;
    if (!is_data_error(outcome.sqlstate)) {
        log(NGX_LOG_ERR, "Postgres refused a batch", outcome.message);
        back_off();
        return;
    }
    if (columns_.rows() > 1) {
        // Halving until the bad row is alone; `row_limit_` grows again with each batch that is
        // stored.
        row_limit_ = columns_.rows() / 2;
        reader_.rewind();
        clear_batch();
        wake_now();
        return;
    }
    log(NGX_LOG_ERR, "Postgres refused a row, it is in rejected.jsonl", outcome.message);
    rejected_.push_back(first_line_);
    columns_.clear();
    batch_stored();
}

void PostgresWriter::on_postgres_ready() noexcept {
    used_at_ms_ = ngx_current_msec;
    if (reader_.backlog_bytes() > 0 || (upkeep_ && upkeep_->due())) {
        wake_now();
    }
}

void PostgresWriter::on_postgres_lost(std::string_view why) noexcept {
    if (std::exchange(tending_, false)) {
        upkeep_->lost();
    }
    ++counters_.pg_errors;
    log(NGX_LOG_ERR, "no connection to Postgres", why);
    hold_.cancel();  // a worker that exits leaves its rows to the next one
    back_off();
}

void PostgresWriter::on_worker_closing() noexcept {
    hold_worker();
    if (!retrying_ && client_.ready() && reader_.backlog_bytes() > 0) {
        wake_now();
    }
}

void PostgresWriter::hold_worker() noexcept {
    if (!hold_.armed() && !client_.closed() && reader_.backlog_bytes() > 0) {
        hold_.arm(config_.shutdown_ms);
    }
}

// The batch is read again after a while: 100 ms, doubled with each failure in a row up to 10 s,
// with jitter so that the workers of a fleet do not come back at once.
void PostgresWriter::back_off() noexcept {
    reader_.rewind();
    clear_batch();
    row_limit_ = std::min(row_limit_, config_.batch);
    retrying_ = true;
    leave_queue();
    wake_.cancel();
    wake_.arm(backoff_ms_ / 2 + static_cast<ngx_msec_t>(ngx_random()) % (backoff_ms_ / 2 + 1));
    backoff_ms_ = std::min(backoff_ms_ * 2, kLongestBackoffMs);
}

void PostgresWriter::clear_batch() noexcept {
    columns_.clear();
    rejected_.clear();
    batch_bytes_ = 0;
    skips_stored_ = false;
}

void PostgresWriter::wake_now() noexcept {
    wake_.cancel();
    if (!std::exchange(in_queue_, true)) {
        turns_.wait(*this);
    }
}

void PostgresWriter::leave_queue() noexcept {
    if (std::exchange(in_queue_, false)) {
        turns_.leave(*this);
    }
}

void PostgresWriter::scan() noexcept {
    guard([this] {
        reader_.give_back();
        if (spool_.drops_oldest()) {
            reader_.forget_dropped();
        }
        reader_.adopt_orphans();
        const bool has_work = reader_.catching_up() || (upkeep_ && upkeep_->due());
        if (retrying_) {
            return;
        }
        if (has_work && (client_.ready() || client_.closed())) {
            wake_now();
        } else if (is_idle()) {
            client_.close();
        }
    });
    scan_.arm(kScanEveryMs);
}

bool PostgresWriter::is_idle() noexcept {
    return client_.ready() && reader_.backlog_bytes() == 0 && !in_queue_ &&
           ngx_current_msec - used_at_ms_ >= kIdleMs;
}

void PostgresWriter::drain(int max_ms) noexcept {
    const int64_t deadline = steady_ms() + max_ms;
    int64_t left = max_ms;
    while (left > 0 && !client_.closed() && !retrying_ && reader_.backlog_bytes() > 0) {
        if (client_.ready()) {
            step();
        } else {
            client_.wait(static_cast<int>(left));
        }
        left = deadline - steady_ms();
    }
    client_.close();
    for (io::Timer* timer : {&wake_, &scan_, &hold_}) {
        timer->cancel();
    }
    leave_queue();
    reader_.rewind();
    reader_.give_back();
}

}  // namespace spend
