#pragma once

#include "io/ngx.hpp"
#include "io/timer.hpp"

namespace io {

// Long work in slices: of those who wait, one gets its turn in each pass of the event loop, first
// come, first served. So a pass takes one slice at most, however many there are, and new events are
// seen between any two slices. A worker that is shutting down stays until nobody waits.
class TurnQueue {
  public:
    class Waiter {
      public:
        // No longer waiting; it may wait again at once.
        virtual void on_turn() noexcept = 0;

      protected:
        ~Waiter() = default;

      private:
        friend TurnQueue;
        struct Link {
            ngx_queue_t queue;
            Waiter* waiter;
        };
        Link link_{{}, this};
    };

    TurnQueue() noexcept;
    ~TurnQueue() noexcept { delete_posted(&next_); }
    TurnQueue(const TurnQueue&) = delete;
    TurnQueue& operator=(const TurnQueue&) = delete;

    // It must not be waiting already, and must leave() before it is destroyed.
    void wait(Waiter& waiter) noexcept;
    void leave(Waiter& waiter) noexcept;

  private:
    static void on_next(ngx_event_t* event) noexcept;
    void post_next() noexcept;

    ngx_queue_t waiters_;
    ngx_event_t next_{};
    ngx_connection_t dummy_{};  // debug builds print ev->data->fd
    Timer presence_;            // nginx ends a worker that has no timer
};

}  // namespace io
