#include "ledger/shm_ledger.hpp"

#include <random>

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

// Tells workers of all nodes apart, also over restarts.
uint64_t random_number() {
    std::random_device random;
    return (uint64_t{random()} << 32 | random()) >> 12;  // exact as a double
}

}  // namespace

ShmLedger::ShmLedger(const Book& book, ngx_shmtx_t& mutex)
    : book_(book),
      mutex_(mutex),
      owner_{static_cast<int32_t>(ngx_process_slot), static_cast<int32_t>(ngx_pid),
             random_number()} {}

std::optional<Decision> ShmLedger::reserve(const llm::RequestId& id, std::span<const Claim> claims,
                                           Waiter&) noexcept {
    const int64_t now = io::wall_ms();
    Lock lock(mutex_);
    return book_.reserve(id, owner_, claims, now);
}

void ShmLedger::settle(const llm::RequestId& id, std::span<const Claim>,
                       const Actual& actual) noexcept {
    settle(id, actual);
}

void ShmLedger::settle(const llm::RequestId& id, const Actual& actual) noexcept {
    Lock lock(mutex_);
    book_.settle(id, actual);
}

void ShmLedger::renew(const llm::RequestId& id, std::span<const Claim>) noexcept {
    const int64_t now = io::wall_ms();
    Lock lock(mutex_);
    book_.renew(id, now);
}

void ShmLedger::set_epochs(bool has_epochs) noexcept {
    Lock lock(mutex_);
    book_.set_epochs(has_epochs);
}

bool ShmLedger::ask(const llm::RequestId& id, std::span<const Claim> claims) noexcept {
    const int64_t now = io::wall_ms();
    Lock lock(mutex_);
    return book_.ask(id, owner_, claims, now);
}

void ShmLedger::heard(const llm::RequestId& id, const Decision& decision) noexcept {
    const int64_t now = io::wall_ms();
    Lock lock(mutex_);
    book_.heard(id, decision, now);
}

Decision ShmLedger::judge_asked(const llm::RequestId& id, std::span<const Claim> claims) noexcept {
    const int64_t now = io::wall_ms();
    Lock lock(mutex_);
    return book_.judge_asked(id, claims, now);
}

Decision ShmLedger::reserve_owed(const llm::RequestId& id, std::span<const Claim> claims) noexcept {
    const int64_t now = io::wall_ms();
    Lock lock(mutex_);
    return book_.reserve(id, owner_, claims, now, Backing::debts);
}

std::optional<Notice> ShmLedger::next_notice(const llm::RequestId& fresh) noexcept {
    const int64_t now = io::wall_ms();
    Lock lock(mutex_);
    return book_.next_notice(fresh, now);
}

void ShmLedger::told(const NoticeRef& notice) noexcept {
    Lock lock(mutex_);
    book_.told(notice);
}

void ShmLedger::untold(const NoticeRef& notice) noexcept {
    Lock lock(mutex_);
    book_.untold(notice);
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
