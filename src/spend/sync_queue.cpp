#include "spend/sync_queue.hpp"

#include <unistd.h>

#include <algorithm>
#include <stdexcept>

namespace spend {

SyncQueue::SyncQueue(Spool& spool) : spool_(spool), watcher_(*this) {
    if (!watcher_.attach(spool_.synced_event()) || !watcher_.want_read(true)) {
        throw std::runtime_error("no free connection");
    }
}

bool SyncQueue::wait(Waiter& waiter) {
    const uint64_t rows = spool_.counters().rows_appended;
    if (!spool_.sync() || spool_.rows_synced() >= rows) {
        return false;
    }
    waiting_.push_back({&waiter, rows});
    return true;
}

void SyncQueue::leave(const Waiter& waiter) noexcept {
    const auto place = std::find_if(waiting_.begin(), waiting_.end(),
                                    [&](const Place& p) { return p.waiter == &waiter; });
    if (place != waiting_.end()) {
        place->waiter = nullptr;
    }
}

void SyncQueue::on_readable() noexcept {
    uint64_t times = 0;
    if (::read(spool_.synced_event(), &times, sizeof(times)) < 0) {
        return;
    }
    const bool works = spool_.sync();
    while (!waiting_.empty() && (!works || waiting_.front().rows <= spool_.rows_synced())) {
        Waiter* waiter = waiting_.front().waiter;
        waiting_.pop_front();
        if (waiter != nullptr) {
            waiter->on_synced();
        }
    }
}

}  // namespace spend
