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
    ShmLedger(const Book& book, ngx_shmtx_t& mutex) noexcept;

    std::optional<Decision> reserve(const llm::RequestId& id, std::span<const Claim> claims,
                                    Waiter& waiter) noexcept override;
    void abandon(Waiter&) noexcept override {}  // nobody ever waits
    void renew(const llm::RequestId& id, std::span<const Claim> claims) noexcept override;
    void settle(const llm::RequestId& id, std::span<const Claim> claims,
                const Actual& actual) noexcept override;


    // What another ledger decided about these claims, as the node's last known state. See
    // Book::observe.
    void observe(std::span<const Claim> claims, const Decision& decision) noexcept;

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
