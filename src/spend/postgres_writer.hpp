#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/postgres_client.hpp"
#include "io/timer.hpp"
#include "io/turn_queue.hpp"
#include "spend/columns.hpp"
#include "spend/partition_upkeep.hpp"
#include "spend/spool.hpp"
#include "spend/spool_reader.hpp"

namespace spend {

struct WriterConfig {
    std::string conninfo;           // from io::prepare_conninfo
    size_t batch = 1000;            // rows; as soon as there are so many they are sent
    ngx_msec_t flush_ms = 1000;     // longest time that a row waits for its batch to fill
    ngx_msec_t shutdown_ms = 2000;  // longest time that rows on their way hold a worker that exits
    bool tends_partitions = false;  // one worker is enough
    int keep_days = 0;              // see PartitionUpkeep
    io::PostgresTimeouts timeouts;
};

struct WriterCounters {
    uint64_t rows_committed = 0;
    uint64_t rows_rejected = 0;  // to be found in "rejected.jsonl" of the spool directory
    uint64_t batches = 0;
    uint64_t pg_errors = 0;  // failed connections and statements
};

// Carries rows from the spool to Postgres: one for each worker, created in init_process. What is
// not committed stays in the spool, for a retry or a successor. An idle connection is given back.
// Never blocks, except in `drain`.
class PostgresWriter final : private io::PostgresClient::Handler, private io::TurnQueue::Waiter {
  public:
    PostgresWriter(WriterConfig config, Spool& spool, io::TurnQueue& turns);
    ~PostgresWriter();

    // Connects, and replays what dead workers left.
    void start() noexcept;

    // After each successful Spool::append; cheap.
    void notify_appended() noexcept;

    // For exit_process: sends what is left while the connection answers, at most `max_ms` long,
    // then closes everything. The writer is of no use afterwards.
    void drain(int max_ms) noexcept;

    const WriterCounters& counters() const noexcept { return counters_; }
    uint64_t torn_lines() const noexcept { return reader_.torn_lines(); }
    uint64_t backlog_bytes() noexcept { return reader_.backlog_bytes(); }

  private:
    void on_postgres_ready() noexcept override;
    void on_postgres_outcome(const io::PostgresOutcome& outcome) noexcept override;
    void on_postgres_lost(std::string_view why) noexcept override;
    void on_worker_closing() noexcept override;
    void on_turn() noexcept override;

    template <class Work>
    void guard(Work work) noexcept;
    void step() noexcept;
    bool tend_partitions();
    void send_batch();
    bool fill_batch();
    bool batch_full() const noexcept;
    size_t most_rows() const noexcept;
    void batch_stored();
    void batch_refused(const io::PostgresOutcome& outcome);
    bool store_rejected();
    void clear_batch() noexcept;
    void back_off() noexcept;
    void wake_now() noexcept;
    void leave_queue() noexcept;
    void hold_worker() noexcept;
    void scan() noexcept;
    bool is_idle() noexcept;

    WriterConfig config_;
    Spool& spool_;
    io::TurnQueue& turns_;
    SpoolReader reader_;
    io::PostgresClient client_;

    io::Timer wake_;  // the next step: a flush or a retry
    io::Timer scan_;
    io::Timer hold_;             // keeps an exiting worker
    ngx_msec_t used_at_ms_ = 0;  // when Postgres last answered
    bool in_queue_ = false;      // for the next step: a further slice of a batch, or another batch

    Columns columns_;                      // the batch
    std::vector<std::string> rejected_;    // lines of the batch that are no rows
    std::string first_line_;               // of the batch: its only one when a bad row is found
    std::vector<std::string_view> lines_;  // reused
    size_t batch_bytes_ = 0;               // of its lines
    bool skips_stored_ = false;            // some of its rows are stored already
    size_t row_limit_;                     // of a batch: less than config_.batch after a bad row,
                                           // more when there is much to catch up on
    size_t appended_ = 0;                  // rows since the last batch began
    ngx_msec_t backoff_ms_;                // of the next failure
    bool retrying_ = false;                // wake_ is armed for a retry: new rows do not hurry it

    std::optional<PartitionUpkeep> upkeep_;
    bool tending_ = false;  // the statement under way is upkeep_'s, not a batch

    WriterCounters counters_;
};

}  // namespace spend
