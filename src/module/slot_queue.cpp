#include "module/slot_queue.hpp"

#include <algorithm>
#include <utility>

namespace module {

SlotQueue::SlotQueue() noexcept
    : look_([](void* self) noexcept { static_cast<SlotQueue*>(self)->look(); }, this) {
    look_.set_keeps_worker(true);
}

bool SlotQueue::wait(Waiter& waiter, const Counter& counter, size_t places, ngx_msec_t wait_ms) {
    if (places == 0) {
        return false;
    }
    const bool again = std::exchange(waiter.has_waited_, true);
    if (!again) {
        waiter.until_ = ngx_current_msec + wait_ms;
    }
    const auto line = lines_.find(counter);
    const size_t waiting = line == lines_.end() ? 0 : line->second.size();
    if (waiter.time_is_over() || (!again && waiting >= places)) {
        return false;
    }
    Line joining{&waiter};
    Ends ending;
    ending.emplace(waiter.until_, &waiter);
    Line& joined = lines_[counter];
    waiter.counter_ = counter;
    waiter.place_ = joining.begin();
    joined.splice(again ? joined.begin() : joined.end(), joining);
    waiter.end_ = ends_.insert(ending.extract(ending.begin()));
    if (!look_.armed()) {
        look_.arm(kLookMs);
    }
    return true;
}

void SlotQueue::leave(Waiter& waiter) noexcept {
    const auto line = lines_.find(waiter.counter_);
    line->second.erase(waiter.place_);
    ends_.erase(waiter.end_);
    if (line->second.empty()) {
        lines_.erase(line);
    }
    if (lines_.empty()) {
        look_.cancel();
    }
}

void SlotQueue::wake(const Counter& counter) noexcept {
    if (const auto line = lines_.find(counter); line != lines_.end()) {
        wake(*line->second.front());
    }
}

void SlotQueue::wake(Waiter& waiter) noexcept {
    leave(waiter);
    waiter.on_slot();
}

void SlotQueue::look() noexcept {
    while (!ends_.empty() && ends_.begin()->second->time_is_over()) {
        wake(*ends_.begin()->second);
    }
    for (size_t n = std::min(lines_.size(), kLooksAtOnce); n > 0; --n) {
        auto line = lines_.upper_bound(looked_at_);
        line = line == lines_.end() ? lines_.begin() : line;
        looked_at_ = line->first;
        wake(*line->second.front());
    }
    if (!lines_.empty()) {
        look_.arm(kLookMs);
    }
}

}  // namespace module
