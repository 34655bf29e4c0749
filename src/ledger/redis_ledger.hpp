#pragma once

// The fleet's ledger: counters and holds in Redis, shared by all nodes. One round trip per reserve;
// settle is not waited for. When Redis does not answer, or has lost what rows are to bring back
// (redis_restore.hpp), a policy does:
//   local  the node's own ledger decides, on the state that it last saw in Redis; what the request
//          used is charged to Redis afterwards
//   deny   unavailable
//   allow  admitted, and charged to Redis afterwards
//
// What Redis is still to be told waits in the node's shared memory until Redis has acknowledged it,
// for any worker to tell it: workers may be reloaded or killed meanwhile. All of it may be sent
// twice, Redis counts it once.
//
// One per worker, made in init_process.

#include <memory>
#include <random>
#include <unordered_map>

#include "io/redis_client.hpp"
#include "ledger/ledger.hpp"
#include "ledger/redis_script.hpp"
#include "ledger/shm_ledger.hpp"

namespace ledger {

enum class OnFailure : uint8_t { local, deny, allow };

struct RedisLedgerConfig {
    io::RedisConfig redis;
    OnFailure on_failure = OnFailure::local;
    std::string key_prefix = "llm:{l}:";  // with a hash tag: all keys in one cluster slot
    int64_t hold_ttl_ms = 3'600'000;      // longer than a request lives without renew()
    int64_t lease_ttl_ms = 15'000;        // a dead worker's parallel slots come back after it
    bool has_epochs = false;              // spend rows bring back what Redis loses; as in `local`
};

// Since the worker started.
struct RedisLedgerStats {
    uint64_t reserves = 0;
    uint64_t denied = 0;              // by Redis or by the local ledger
    uint64_t fallback_local = 0;      // decided by the local ledger
    uint64_t fallback_allowed = 0;    // admitted whatever is used
    uint64_t denied_unavailable = 0;  // no decision
    uint64_t told_again = 0;          // settlements and debts sent once more
};

class RedisLedger final : public Ledger, private io::RedisClient::Observer {
  public:
    // Connects at once. `local` lives longer; its holds are this worker's during an outage.
    RedisLedger(RedisLedgerConfig config, ShmLedger& local);
    ~RedisLedger() override;
    RedisLedger(const RedisLedger&) = delete;
    RedisLedger& operator=(const RedisLedger&) = delete;

    // A waiter waits for one reserve at a time. unavailable also: the shared memory is full.
    std::optional<Decision> reserve(const llm::RequestId& id, std::span<const Claim> claims,
                                    Waiter& waiter) noexcept override;
    void abandon(Waiter& waiter) noexcept override;
    void settle(const llm::RequestId& id, std::span<const Claim> claims,
                const Actual& actual) noexcept override;
    void renew(const llm::RequestId& id, std::span<const Claim> claims) noexcept override;

    // For exit_process: waits, blocking, until Redis has been told everything. What it has not
    // been told then is left to other workers.
    void drain(int64_t max_ms) noexcept;

    const RedisLedgerStats& stats() const noexcept { return stats_; }
    io::RedisClient& client() noexcept { return client_; }

  private:
    class Reservation;
    class Telling;

    // Commands whose answer decides nothing.
    class Background final : public io::RedisClient::ReplyHandler {
      public:
        explicit Background(RedisLedger& ledger) noexcept : ledger_(ledger) {}
        void submit(const io::RedisCommand& command) noexcept;
        bool idle() const noexcept { return waiting_ == 0; }
        void on_timeout() noexcept override {}
        void on_reply(const redisReply* reply) noexcept override;

      private:
        RedisLedger& ledger_;
        size_t waiting_ = 0;
    };

    void on_ready() noexcept override { tell(); }
    Decision fall_back(const llm::RequestId& id, std::span<const Claim> claims,
                       bool asked) noexcept;
    void release(const llm::RequestId& id) noexcept;
    io::RedisCommand reserve_command(const llm::RequestId& id, std::span<const Claim> claims) const;
    io::RedisCommand settle_command(const Notice& notice) const;
    io::RedisCommand command(RedisCall call) const;

    void tell() noexcept;
    bool tell(const Notice& notice) noexcept;
    void tick() noexcept;
    void load_script() noexcept;
    void forget(const llm::RequestId& ended) noexcept;
    void forget_ended_requests() noexcept;
    void renew_lease() noexcept;
    llm::RequestId fresh_id() noexcept;

    RedisLedgerConfig config_;
    ShmLedger& local_;
    RedisLedgerStats stats_;
    std::unordered_map<Waiter*, Reservation*> waiting_;
    size_t in_flight_ = 0;  // notices that wait for their reply, owned by the client until then
    Background script_load_;
    Background housekeeping_;
    std::array<llm::RequestId, 64> ended_;  // settled, and still remembered by Redis
    size_t n_ended_ = 0;
    std::mt19937_64 random_{std::random_device{}()};
    io::RedisCommand load_command_;
    io::Timer tick_;
    io::Timer lease_;
    io::RedisClient client_;  // last: its end calls back into the rest
};

}  // namespace ledger
