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
    waiter.counter_ = counter;
    Line joining{&waiter};
    Line& joined = lines_[counter];
    joined.splice(again ? joined.begin() : joined.end(), joining);
    if (!look_.armed()) {
        look_.arm(kLookMs);
    }
    return true;
}

void SlotQueue::leave(Waiter& waiter) noexcept {
    const auto line = lines_.find(waiter.counter_);
    if (line == lines_.end()) {
        return;
    }
    line->second.remove(&waiter);
    if (line->second.empty()) {
        lines_.erase(line);
    }
    if (lines_.empty()) {
        look_.cancel();
    }
}

void SlotQueue::wake(const Counter& counter) noexcept {
    if (const auto line = lines_.find(counter); line != lines_.end()) {
        wake_first(line->second);
    }
}

void SlotQueue::wake_first(Line& line) noexcept {
    Waiter& first = *line.front();
    leave(first);
    first.on_slot();
}

// Those whose time is over are in front, as all of a line wait equally long.
void SlotQueue::wake_overdue() noexcept {
    for (auto next = lines_.begin(); next != lines_.end();) {
        Line& line = (next++)->second;
        const auto overdue = std::find_if_not(
            line.begin(), line.end(), [](const Waiter* waiter) { return waiter->time_is_over(); });
        for (auto n = std::distance(line.begin(), overdue); n > 0; --n) {
            wake_first(line);
        }
    }
}

void SlotQueue::look() noexcept {
    wake_overdue();
    for (size_t n = std::min(lines_.size(), kLooksAtOnce); n > 0; --n) {
        auto line = lines_.upper_bound(looked_at_);
        line = line == lines_.end() ? lines_.begin() : line;
        looked_at_ = line->first;
        wake_first(line->second);
    }
    if (!lines_.empty()) {
        look_.arm(kLookMs);
    }
}

}  // namespace module
