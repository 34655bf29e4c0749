#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <map>

#include "io/timer.hpp"

namespace module {

// Calls of one worker that wait for a parallel slot: by counter, first come, first served. The
// first of a counter is woken when a call of this worker gives a slot of it back, and, as other
// workers and nodes do so too, every kLookMs; of many counters some at a time. A worker that is
// shutting down stays until nobody waits.
class SlotQueue {
  public:
    using Counter = std::array<uint64_t, 2>;  // CounterId::hash
    class Waiter;

  private:
    using Line = std::list<Waiter*>;
    using Ends = std::multimap<ngx_msec_t, Waiter*>;

  public:
    class Waiter {
      public:
        // No longer waiting: a slot may be free, or the time is over. It may wait again at once.
        virtual void on_slot() noexcept = 0;

      protected:
        ~Waiter() = default;

      private:
        friend SlotQueue;
        bool has_waited_ = false;
        ngx_msec_t until_ = 0;
        // While it waits.
        Counter counter_{};
        Line::iterator place_;
        Ends::iterator end_;

        bool time_is_over() const noexcept {
            return static_cast<ngx_msec_int_t>(ngx_current_msec - until_) >= 0;
        }
    };

    SlotQueue() noexcept;
    SlotQueue(const SlotQueue&) = delete;
    SlotQueue& operator=(const SlotQueue&) = delete;

    // For `wait_ms` at most, in all. False: `places` others wait already, or the time is over. Who
    // has waited before is the first again, whatever the places. It must leave() before it is
    // destroyed. O(log n), like all that follows.
    bool wait(Waiter& waiter, const Counter& counter, size_t places, ngx_msec_t wait_ms);
    void leave(Waiter& waiter) noexcept;

    // A slot of that counter has come back.
    void wake(const Counter& counter) noexcept;

  private:
    static constexpr ngx_msec_t kLookMs = 25;
    static constexpr size_t kLooksAtOnce = 32;  // counters: each look asks the ledger

    void look() noexcept;
    void wake(Waiter& waiter) noexcept;

    std::map<Counter, Line> lines_;
    Ends ends_;            // of the time of each
    Counter looked_at_{};  // last
    io::Timer look_;
};

}  // namespace module
