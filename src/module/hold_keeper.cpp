#include "module/hold_keeper.hpp"

#include "ledger/book.hpp"

namespace module {

namespace {

constexpr ngx_msec_t kRenewMs = ledger::Book::kDefaultHoldTtl / 4;

}  // namespace

HoldKeeper::HoldKeeper() noexcept
    : due_([](void* self) noexcept { static_cast<HoldKeeper*>(self)->renew_due(); }, this) {
    ngx_queue_init(&holds_);
}

void HoldKeeper::keep(Hold& hold) noexcept {
    append(hold);
    if (!due_.armed()) {
        due_.arm(kRenewMs);
    }
}

void HoldKeeper::let_go(Hold& hold) noexcept {
    ngx_queue_remove(&hold.link_.queue);
}

void HoldKeeper::append(Hold& hold) noexcept {
    hold.renewed_ = ngx_current_msec;
    ngx_queue_insert_tail(&holds_, &hold.link_.queue);
}

void HoldKeeper::renew_due() noexcept {
    while (!ngx_queue_empty(&holds_)) {
        const auto* link = ngx_queue_data(ngx_queue_head(&holds_), Hold::Link, queue);
        Hold& oldest = *link->hold;
        const ngx_msec_t age = ngx_current_msec - oldest.renewed_;
        if (age < kRenewMs) {
            return due_.arm(kRenewMs - age);
        }
        let_go(oldest);
        append(oldest);
        oldest.renew_hold();
    }
}

}  // namespace module
