#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/postgres_client.hpp"
#include "io/redis_client.hpp"
#include "io/timer.hpp"
#include "ledger/redis_ledger.hpp"
#include "module/restoration.hpp"
#include "spend/budget_sums.hpp"

namespace module {

struct RestorerConfig {
    std::string conninfo;    // from io::prepare_conninfo
    std::string key_prefix;  // as the ledger's
    uint64_t owner = 0;      // another one on each node
    int64_t keep_ms = 0;     // a counter in Redis outlives its window by so much
};

// Carries sums of budgets from Postgres to Redis, as Restoration says. One worker of a node has
// one. It has its own connection to Postgres, for as long as it reads, and uses the ledger's to
// Redis. Never blocks.
class Restorer final : private io::PostgresClient::Handler, private io::RedisClient::ReplyHandler {
  public:
    explicit Restorer(RestorerConfig config);
    Restorer(const Restorer&) = delete;
    Restorer& operator=(const Restorer&) = delete;

    // Once. The ledger's end comes before the restorer's.
    void start(ledger::RedisLedger& ledger) noexcept;

  private:
    void on_postgres_ready() noexcept override;
    void on_postgres_outcome(const io::PostgresOutcome& outcome) noexcept override;
    void on_postgres_lost(std::string_view why) noexcept override;
    void on_worker_closing() noexcept override { postgres_.close(); }
    void on_timeout() noexcept override {}
    void on_reply(const redisReply* reply) noexcept override;

    void take_step() noexcept;
    void ask_redis(ledger::Epoch next);
    void read_page();
    void take_page(const io::PostgresOutcome& page);
    void finish();
    void wait() noexcept;
    void fail(std::string_view why) noexcept;

    RestorerConfig config_;
    io::RedisClient* redis_ = nullptr;
    Restoration restoration_;
    spend::BudgetSums sums_;
    std::vector<spend::BudgetSum> page_;  // to be written
    int64_t redis_now_ms_ = 0;            // by its clock, at the last look
    size_t counters_ = 0;                 // written in this reading
    bool anew_ = false;                   // Redis had no epoch
    bool failure_reported_ = false;
    io::PostgresClient postgres_;
    io::Timer wait_;
};

}  // namespace module
