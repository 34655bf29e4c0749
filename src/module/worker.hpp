#pragma once

#include <array>
#include <memory>
#include <random>

#include "io/ngx.hpp"
#include "io/timer.hpp"
#include "io/turn_queue.hpp"
#include "ledger/redis_ledger.hpp"
#include "ledger/shm_ledger.hpp"
#include "llm/tokenizer/encoding.hpp"
#include "module/alerts.hpp"
#include "module/gateway.hpp"
#include "module/hold_keeper.hpp"
#include "module/restorer.hpp"
#include "module/slot_queue.hpp"
#include "spend/postgres_writer.hpp"
#include "spend/refusal_sums.hpp"
#include "spend/spool.hpp"
#include "spend/sync_queue.hpp"

namespace module {

// What one worker process owns: made in init_process, gone in exit_process.
class Worker {
  public:
    static ngx_int_t init(ngx_cycle_t* cycle) noexcept;
    static void exit(ngx_cycle_t* cycle) noexcept;
    // Only between the two, in a worker whose configuration has `llm on`.
    static Worker& current() noexcept;

    explicit Worker(const Gateway& gateway);
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    ledger::Ledger& ledger() noexcept;
    // Spools the row, from where it goes to Postgres. False: it could not be written, logged.
    bool record(const spend::Row& row) noexcept;
    // That of a request that no provider was asked for: likewise, or added up with others (false).
    bool record_refusal(const spend::Row& row);
    // Rows that are recorded now are waited for before their answers end; nullptr: they are not.
    spend::SyncQueue* syncs() noexcept { return syncs_.get(); }
    // Rows can be written: admit requests only while this holds.
    bool can_record() noexcept;
    // Of a model that the configuration routes to.
    llm::tokenizer::Encoding& encoding(llm::tokenizer::EncodingName name) noexcept {
        return *encodings_[static_cast<size_t>(name)];
    }
    // Where work that takes long waits for its turns.
    io::TurnQueue& turns() noexcept { return turns_; }
    // Where calls wait for parallel slots.
    SlotQueue& slots() noexcept { return slots_; }
    HoldKeeper& holds() noexcept { return holds_; }
    Alerts& alerts() noexcept { return alerts_; }
    std::mt19937& random() noexcept { return random_; }
    // For request ids; from a cryptographic source, fetched in bulk. Throws when that fails.
    std::array<uint8_t, 10> random_bytes();

  private:
    void make_encodings();
    void housekeep() noexcept;
    void record_refusals() noexcept;
    void sync_spool() noexcept;
    void report_spool_error() noexcept;

    io::TurnQueue turns_;  // outlives those who wait
    ledger::ShmLedger shm_ledger_;
    std::unique_ptr<Restorer> restorer_;  // of one worker with llm_redis and llm_postgres
    std::unique_ptr<ledger::RedisLedger> redis_ledger_;  // only with llm_redis
    spend::Spool spool_;
    const Fsync fsync_;
    io::Timer sync_;                           // armed while rows wait for it
    std::unique_ptr<spend::SyncQueue> syncs_;  // only with fsync=always
    const bool sums_refusals_;
    spend::RefusalSums refusals_;
    io::Timer refusals_due_;                         // armed while there are any
    std::unique_ptr<spend::PostgresWriter> writer_;  // only with llm_postgres
    std::array<std::unique_ptr<llm::tokenizer::Encoding>, llm::tokenizer::kEncodingCount>
        encodings_;
    SlotQueue slots_;
    HoldKeeper holds_;
    Alerts alerts_;
    io::Timer housekeeping_;
    std::mt19937 random_{std::random_device{}()};
    std::array<uint8_t, 4000> random_pool_;
    size_t random_used_ = random_pool_.size();
};

}  // namespace module
