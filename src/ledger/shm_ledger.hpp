#pragma once

#include "io/ngx.hpp"
#include "ledger/book.hpp"

namespace ledger {

// The ledger in the shared memory of one nginx: a Book behind the zone's mutex. One object per
// worker, made in it (it notes the worker's slot and pid). It answers at once and never waits, but
// for the mutex.
class ShmLedger final : public Ledger {
  public:
    // Both outlive the ledger.
    ShmLedger(const Book& book, ngx_shmtx_t& mutex);

    std::optional<Decision> reserve(const llm::RequestId& id, std::span<const Claim> claims,
                                    Waiter& waiter) noexcept override;
    void abandon(Waiter&) noexcept override {}  // nobody ever waits
    void renew(const llm::RequestId& id, std::span<const Claim> claims) noexcept override;
    void settle(const llm::RequestId& id, std::span<const Claim> claims,
                const Actual& actual) noexcept override;

    // For a ledger elsewhere that this one stands in for, and keeps what it is to be told: see
    // Book.
    uint64_t number() const noexcept { return owner_.number; }
    void set_epochs(bool has_epochs) noexcept;
    bool ask(const llm::RequestId& id, std::span<const Claim> claims) noexcept;
    void heard(const llm::RequestId& id, const Decision& decision) noexcept;
    Decision judge_asked(const llm::RequestId& id, std::span<const Claim> claims) noexcept;
    Decision reserve_owed(const llm::RequestId& id, std::span<const Claim> claims) noexcept;
    void settle(const llm::RequestId& id, const Actual& actual) noexcept;
    std::optional<Notice> next_notice(const llm::RequestId& fresh) noexcept;
    void told(const NoticeRef& notice) noexcept;
    void untold(const NoticeRef& notice) noexcept;

    CounterState peek(const Claim& claim) noexcept;
    BookCounts counts() noexcept;

    // Lapses holds that are due, at most max_n; for a timer, since reserve lapses a few only.
    size_t lapse(size_t max_n) noexcept;
    // Lapses what crashed predecessors of this worker have left. Call once when the worker starts.
    size_t lapse_predecessors() noexcept;

  private:
    Book book_;
    ngx_shmtx_t& mutex_;
    Owner owner_;
};

}  // namespace ledger
