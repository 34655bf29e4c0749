#include "spend/sync_queue.hpp"

#include <unistd.h>

#include <stdexcept>

namespace spend {

SyncQueue::SyncQueue(Spool& spool) : spool_(spool), watcher_(*this) {
    ngx_queue_init(&waiters_);
    if (!watcher_.attach(spool_.synced_event()) || !watcher_.want_read(true)) {
        throw std::runtime_error("no free connection");
    }
}

bool SyncQueue::wait(Waiter& waiter) noexcept {
    const uint64_t rows = spool_.counters().rows_appended;
    if (!spool_.sync() || spool_.rows_synced() >= rows) {
        return false;
    }
    waiter.rows_ = rows;
    ngx_queue_insert_tail(&waiters_, &waiter.link_.queue);
    return true;
}

void SyncQueue::leave(Waiter& waiter) noexcept {
    ngx_queue_remove(&waiter.link_.queue);
}

void SyncQueue::on_readable() noexcept {
    uint64_t times = 0;
    if (::read(spool_.synced_event(), &times, sizeof(times)) < 0) {
        return;
    }
    const bool works = spool_.sync();
    while (!ngx_queue_empty(&waiters_)) {
        ngx_queue_t* head = ngx_queue_head(&waiters_);
        const auto* link = ngx_queue_data(head, Waiter::Link, queue);
        Waiter& first = *link->waiter;
        if (works && first.rows_ > spool_.rows_synced()) {
            return;
        }
        leave(first);
        first.on_synced();
    }
}

}  // namespace spend
