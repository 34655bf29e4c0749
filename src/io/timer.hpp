#pragma once

#include "io/ngx.hpp"

namespace io {

// A one-shot timer of the worker's event loop. Destroying it cancels it. The callback may re-arm or
// destroy the timer. A `keeps_worker` timer holds a worker that is shutting down until it fires;
// others are dropped at shutdown.
class Timer {
  public:
    using Callback = void (*)(void* owner) noexcept;

    Timer(Callback callback, void* owner) noexcept;
    ~Timer() noexcept { cancel(); }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void arm(ngx_msec_t delay_ms) noexcept;
    void cancel() noexcept;
    // For exit_process, where the event loop is over: calls back if the time has come.
    void fire_if_due() noexcept;
    bool armed() const noexcept { return event_.timer_set; }
    void set_keeps_worker(bool keeps) noexcept { event_.cancelable = keeps ? 0 : 1; }

  private:
    ngx_event_t event_{};
    ngx_connection_t dummy_{};  // debug builds print ev->data->fd
    Callback callback_;
    void* owner_;
};

}  // namespace io
