#include "module/restoration.hpp"

#include <algorithm>

namespace module {

void Restoration::wait(int64_t until_ms) noexcept {
    step_ = Step::wait;
    look_at_ms_ = until_ms;
}

void Restoration::waited() noexcept {
    step_ = Step::look;
}

void Restoration::redis_answered(const ledger::RestoreReply& reply, int64_t now_ms) noexcept {
    if (!reply.leads) {
        return wait(now_ms + kLookMs);
    }
    switch (step_) {
        case Step::look:
            return looked(reply, now_ms);
        case Step::begin:
            epoch_ = reply.epoch;
            step_ = Step::finish;
            return;
        default:
            return reply.epoch == epoch_ ? end_page() : wait(now_ms);
    }
}

void Restoration::redis_failed(int64_t now_ms) noexcept {
    wait(now_ms + kLookMs);
}

void Restoration::looked(const ledger::RestoreReply& reply, int64_t now_ms) noexcept {
    epoch_ = reply.epoch;
    if (epoch_ != 0 && epoch_ == complete_ && now_ms < read_at_ms_) {
        return wait(now_ms + kLookMs);
    }
    first_page_ = true;
    found_ = false;
    step_ = Step::read;
}

void Restoration::page_read(size_t sums, bool is_last) noexcept {
    first_page_ = false;
    last_page_ = is_last;
    found_ |= sums > 0;
    if (sums > 0) {
        step_ = Step::write;
        return;
    }
    end_page();
}

void Restoration::end_page() noexcept {
    if (!last_page_) {
        step_ = Step::read;
        return;
    }
    step_ = epoch_ == 0 ? Step::begin : Step::finish;
}

void Restoration::finished(int64_t now_ms) noexcept {
    const bool is_quiet = epoch_ == complete_ && !found_;
    read_every_ms_ = is_quiet ? std::min(2 * read_every_ms_, kLastReadMs) : kFirstReadMs;
    read_at_ms_ = now_ms + read_every_ms_;
    complete_ = epoch_;
    retry_ms_ = kLookMs;
    wait(now_ms + kLookMs);
}

// Longer than the lock lasts, in the end: a node with a better way to Postgres may try.
void Restoration::postgres_failed(int64_t now_ms) noexcept {
    wait(now_ms + retry_ms_);
    retry_ms_ = std::min(2 * retry_ms_, kLongestRetryMs);
}

}  // namespace module
