#pragma once

// The fleet's ledger: counters and holds in Redis, shared by all nodes. One round trip per reserve;
// settle is not waited for. When Redis does not answer, a policy does:
//   local  the node's own ledger decides, on the state that it last saw in Redis; what the request
//          used is charged to Redis afterwards
//   deny   unavailable
//   allow  admitted, and charged to Redis afterwards
//
// What is to be settled waits in a bounded queue until Redis has acknowledged it; all of it may be
// sent twice, Redis counts it once. What the queue cannot take is counted as dropped; its hold
// lapses. A queue that is not empty keeps a worker that shuts down for up to 10 s.
//
// One per worker, made in init_process.

#include <deque>
#include <memory>
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
    size_t max_unsettled = 100'000;
};

// Since the worker started.
struct RedisLedgerStats {
    uint64_t reserves = 0;
    uint64_t denied = 0;              // by Redis or by the local ledger
    uint64_t fallback_local = 0;      // decided by the local ledger
    uint64_t fallback_allowed = 0;    // admitted unseen
    uint64_t denied_unavailable = 0;  // no decision
    uint64_t late_released = 0;       // reserves given back because nobody uses them
    uint64_t settle_retries = 0;      // settlements sent again
    uint64_t dropped = 0;             // settlements given up
};

class RedisLedger final : public Ledger, private io::RedisClient::Observer {
  public:
    // Connects at once. `local` lives longer; its holds are this worker's during an outage.
    RedisLedger(RedisLedgerConfig config, ShmLedger& local);
    ~RedisLedger() override;
    RedisLedger(const RedisLedger&) = delete;
    RedisLedger& operator=(const RedisLedger&) = delete;

    // A waiter waits for one reserve at a time.
    std::optional<Decision> reserve(const llm::RequestId& id, std::span<const Claim> claims,
                                    Waiter& waiter) noexcept override;
    void abandon(Waiter& waiter) noexcept override;

    // Wanted for every admitted request, also for one that was admitted without a hold.
    void settle(const llm::RequestId& id, std::span<const Claim> claims,
                const Actual& actual) noexcept override;

    void renew(const llm::RequestId& id, std::span<const Claim> claims) noexcept override;

    // For exit_process: waits, blocking, for what is still unsettled.
    void drain(int64_t max_ms) noexcept;

    const RedisLedgerStats& stats() const noexcept { return stats_; }
    size_t unsettled() const noexcept { return queued_.size() + in_flight_; }
    const io::RedisClient& client() const noexcept { return client_; }

  private:
    class Reservation;
    class Settlement;

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

    enum class HeldBy : uint8_t { redis, local, nobody };
    struct Admitted {
        HeldBy by = HeldBy::redis;
        int64_t at_ms = 0;
    };

    struct IdHash {
        size_t operator()(const llm::RequestId& id) const noexcept;
    };

    void on_ready() noexcept override { flush(); }
    Decision fall_back(const llm::RequestId& id, std::span<const Claim> claims,
                       Waiter& waiter) noexcept;
    void remember(const llm::RequestId& id, HeldBy by) noexcept;
    void observe(std::span<const Claim> claims, const Decision& decision) noexcept;
    io::RedisCommand command(RedisOp op, const llm::RequestId& id, std::span<const Claim> claims,
                             std::span<const int64_t> amounts, int64_t at_ms) const;
    void release(const llm::RequestId& id, std::span<const Claim> claims) noexcept;
    void load_script() noexcept;
    void forget(const llm::RequestId& ended) noexcept;
    void forget_ended_requests() noexcept;
    void renew_lease() noexcept;

    void enqueue(const llm::RequestId& id, bool ordered, std::span<const Claim> claims,
                 const Actual& actual, int64_t admitted_ms) noexcept;
    void requeue(std::unique_ptr<Settlement> settlement) noexcept;
    void flush() noexcept;
    void tick() noexcept;

    RedisLedgerConfig config_;
    ShmLedger& local_;
    RedisLedgerStats stats_;
    std::unordered_map<Waiter*, Reservation*> waiting_;
    std::unordered_map<llm::RequestId, Admitted, IdHash> admitted_;  // and not settled
    std::deque<std::unique_ptr<Settlement>> queued_;
    size_t in_flight_ = 0;  // settlements that wait for their reply, owned by the client until then
    bool paused_ = false;   // Redis refuses settlements: until the next tick
    uint64_t worker_;
    Background script_load_;
    Background housekeeping_;
    std::array<llm::RequestId, 64> ended_;  // settled, and still remembered by Redis
    size_t n_ended_ = 0;
    io::RedisCommand load_command_;
    io::Timer tick_;
    io::Timer lease_;
    int exiting_ticks_ = 0;
    io::RedisClient client_;  // last: its end calls back into the rest
};

}  // namespace ledger
