#pragma once

#include <cstdint>

#include "io/fd_watcher.hpp"
#include "spend/spool.hpp"

namespace spend {

// Those who wait until their rows are on disk. While the disk is at work rows gather, and go to it
// together as soon as it is done.
class SyncQueue final : private io::FdWatcher::Handler {
  public:
    class Waiter {
      public:
        // No longer waiting: its rows are on disk, or could not be brought there, which the spool
        // reports.
        virtual void on_synced() noexcept = 0;

      protected:
        ~Waiter() = default;

      private:
        friend SyncQueue;
        struct Link {
            ngx_queue_t queue;
            Waiter* waiter;
        };
        Link link_{{}, this};
        uint64_t rows_ = 0;  // that have to be on disk; never less than those in front
    };

    // The spool `syncs` and lives longer. Throws std::runtime_error without a free connection.
    explicit SyncQueue(Spool& spool);
    SyncQueue(const SyncQueue&) = delete;
    SyncQueue& operator=(const SyncQueue&) = delete;

    // Until all rows appended so far are on disk. False: there is nothing to wait for. It must not
    // be waiting already, and must leave() before it is destroyed.
    bool wait(Waiter& waiter) noexcept;
    void leave(Waiter& waiter) noexcept;

  private:
    void on_readable() noexcept override;
    void on_writable() noexcept override {}
    void on_worker_closing() noexcept override {}

    Spool& spool_;
    io::FdWatcher watcher_;
    ngx_queue_t waiters_;
};

}  // namespace spend
