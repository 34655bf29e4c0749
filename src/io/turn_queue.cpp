#include "io/turn_queue.hpp"

namespace io {

namespace {

constexpr ngx_msec_t kPresenceMs = 3600 * 1000;

}  // namespace

TurnQueue::TurnQueue() noexcept
    : presence_([](void* self) noexcept {
          static_cast<TurnQueue*>(self)->presence_.arm(kPresenceMs);
      }, this) {
    ngx_queue_init(&waiters_);
    dummy_.fd = static_cast<ngx_socket_t>(-1);
    dummy_.data = this;
    next_.data = &dummy_;
    next_.log = ngx_cycle->log;
    next_.handler = on_next;
    presence_.set_keeps_worker(true);
}

void TurnQueue::wait(Waiter& waiter) noexcept {
    ngx_queue_insert_tail(&waiters_, &waiter.link_.queue);
    post_next();
    if (!presence_.armed()) {
        presence_.arm(kPresenceMs);
    }
}

void TurnQueue::leave(Waiter& waiter) noexcept {
    ngx_queue_remove(&waiter.link_.queue);
    if (ngx_queue_empty(&waiters_)) {
        presence_.cancel();
    }
}

void TurnQueue::post_next() noexcept {
    if (!next_.posted) {
        ngx_post_event(&next_, &ngx_posted_next_events);
    }
}

void TurnQueue::on_next(ngx_event_t* event) noexcept {
    auto* self = static_cast<TurnQueue*>(static_cast<ngx_connection_t*>(event->data)->data);
    if (ngx_queue_empty(&self->waiters_)) {
        return;
    }
    ngx_queue_t* first = ngx_queue_head(&self->waiters_);
    const auto* link = ngx_queue_data(first, Waiter::Link, queue);
    Waiter& waiter = *link->waiter;
    self->leave(waiter);
    waiter.on_turn();
    if (!ngx_queue_empty(&self->waiters_)) {
        self->post_next();
    }
}

}  // namespace io
