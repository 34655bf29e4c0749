#include "ledger/shm_ledger.hpp"

namespace ledger {

namespace {

class Lock {
  public:
    explicit Lock(ngx_shmtx_t& mutex) noexcept : mutex_(mutex) { ngx_shmtx_lock(&mutex_); }
    ~Lock() noexcept { ngx_shmtx_unlock(&mutex_); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

  private:
    ngx_shmtx_t& mutex_;
};

}  // namespace

ShmLedger::ShmLedger(const Book& book, ngx_shmtx_t& mutex) noexcept
    : book_(book),
      mutex_(mutex),
      owner_{static_cast<int32_t>(ngx_process_slot), static_cast<int32_t>(ngx_pid)} {}

std::optional<Decision> ShmLedger::reserve(const llm::RequestId& id, std::span<const Claim> claims,
                                           Waiter&) noexcept {
    const int64_t now = io::wall_ms();
    Lock lock(mutex_);
    return book_.reserve(id, owner_, claims, now);
}

void ShmLedger::settle(const llm::RequestId& id, std::span<const Claim>,
                       const Actual& actual) noexcept {
    Lock lock(mutex_);
    book_.settle(id, actual);
}

void ShmLedger::renew(const llm::RequestId& id, std::span<const Claim>) noexcept {
    const int64_t now = io::wall_ms();
    Lock lock(mutex_);
    book_.renew(id, now);
}

void ShmLedger::observe(std::span<const Claim> claims, const Decision& decision) noexcept {
    if (decision.outcome == Outcome::unavailable) {
        return;
    }
    const int64_t now = io::wall_ms();
    Lock lock(mutex_);
    for (size_t i = 0; i < claims.size(); ++i) {
        book_.observe(claims[i], decision.states[i], now);
    }
}

CounterState ShmLedger::peek(const Claim& claim) noexcept {
    const int64_t now = io::wall_ms();
    Lock lock(mutex_);
    return book_.peek(claim, now);
}

BookCounts ShmLedger::counts() noexcept {
    Lock lock(mutex_);
    return book_.counts();
}

size_t ShmLedger::lapse(size_t max_n) noexcept {
    const int64_t now = io::wall_ms();
    Lock lock(mutex_);
    return book_.lapse(now, max_n);
}

size_t ShmLedger::lapse_predecessors() noexcept {
    Lock lock(mutex_);
    return book_.lapse_owner(owner_);
}

}  // namespace ledger
