#include "io/timer.hpp"

namespace io {

Timer::Timer(Callback callback, void* owner) noexcept : callback_(callback), owner_(owner) {
    dummy_.fd = static_cast<ngx_socket_t>(-1);
    dummy_.data = this;
    event_.data = &dummy_;
    event_.log = ngx_cycle->log;
    event_.cancelable = 1;
    event_.handler = [](ngx_event_t* ev) {
        auto* self = static_cast<Timer*>(static_cast<ngx_connection_t*>(ev->data)->data);
        self->callback_(self->owner_);
    };
}

void Timer::arm(ngx_msec_t delay_ms) noexcept {
    ngx_add_timer(&event_, delay_ms);
}

void Timer::cancel() noexcept {
    if (event_.timer_set) {
        ngx_del_timer(&event_);
    }
}

void Timer::fire_if_due() noexcept {
    if (armed() && static_cast<ngx_msec_int_t>(event_.timer.key - ngx_current_msec) <= 0) {
        cancel();
        callback_(owner_);
    }
}

}  // namespace io
