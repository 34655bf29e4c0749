#include <utility>

#include "ledger/book_layout.hpp"

// What a book has to tell the true ledger elsewhere: how holds ended, and debts.

namespace ledger {

namespace {

// Also after the clock was set back.
bool is_due(int64_t when_ms, int64_t now) noexcept {
    return when_ms <= now || when_ms - now > Book::kTellAgain;
}

}  // namespace

void Book::hear_epoch(const Decision& decision) noexcept {
    const int64_t late_us = header_->epoch_us - decision.decided_us;
    if (header_->epoch == kNoEpochs || decision.epoch == kNoEpochs ||
        (late_us > 0 && late_us < kReorderedUs)) {
        return;
    }
    header_->epoch_us = decision.decided_us;
    header_->epoch = decision.epoch;
}

void Book::owe(uint32_t index, int64_t amount, const Hold& hold) noexcept {
    Counter& counter = counters_[index];
    if (counter.unit == Unit::parallel || amount == 0) {
        return;
    }
    if (counter.has_epochs()) {
        if (counter.debt_epoch() != header_->epoch) {
            drop_debt(index);
        }
        if (hold.epoch != header_->epoch) {
            return;  // its row brings it
        }
    }
    counter.owe(amount, hold.at_ms, header_->clock_ms);
    if (counter.listed == Counter::Listed::no) {
        list_debt(index);
    }
}

// What was charged in an epoch that is over counts no more.
void Book::drop_debt(uint32_t index) noexcept {
    Counter& counter = counters_[index];
    if (counter.listed != Counter::Listed::no) {
        unlist_debt(index);
    }
    counter.debt.paid = counter.debt.sent;
    keep_order();
    counter.debt.total = counter.debt.sent;
    keep_order();
    counter.set_debt_epoch(header_->epoch);
}

// In the list where it belongs, if anywhere.
void Book::list_debt(uint32_t index) noexcept {
    using Listed = Counter::Listed;
    Counter& counter = counters_[index];
    if (counter.debt.in_flight()) {
        counter.listed = Listed::in_flight;
        push_back(header_->debts_in_flight, counters_, index);
    } else if (counter.debt.waits()) {
        counter.listed = Listed::waiting;
        push_back(header_->waiting_debts, counters_, index);
    }
    header_->untold += counter.listed == Listed::no ? 0 : 1;
}

void Book::unlist_debt(uint32_t index) noexcept {
    Counter& counter = counters_[index];
    const bool in_flight = counter.listed == Counter::Listed::in_flight;
    unlink(in_flight ? header_->debts_in_flight : header_->waiting_debts, counters_, index);
    counter.listed = Counter::Listed::no;
    --header_->untold;
}

std::optional<Notice> Book::next_notice(const llm::RequestId& fresh, int64_t now_ms) noexcept {
    if (header_->untold == 0) {
        return std::nullopt;
    }
    Update update(*this);
    const int64_t now = tick(now_ms);
    if (const uint32_t index = due_end(now); index != kNil) {
        return notice_of_end(index);
    }
    if (const uint32_t index = due_debt(fresh, now); index != kNil) {
        return notice_of_debt(index, fresh);
    }
    return std::nullopt;
}

uint32_t Book::due_end(int64_t now) noexcept {
    const uint32_t index = header_->ended.first;
    if (index == kNil || !is_due(holds_[index].deadline_ms, now)) {
        return kNil;
    }
    unlink(header_->ended, holds_, index);
    holds_[index].deadline_ms = now + kTellAgain;
    push_back(header_->ended, holds_, index);
    return index;
}

uint32_t Book::due_debt(const llm::RequestId& fresh, int64_t now) noexcept {
    const uint32_t late = header_->debts_in_flight.first;
    if (late != kNil && is_due(counters_[late].debt.resend_ms, now)) {
        counters_[late].debt.resend_ms = now + kTellAgain;
        unlist_debt(late);
        list_debt(late);
        return late;
    }
    while (header_->waiting_debts.first != kNil) {
        const uint32_t index = header_->waiting_debts.first;
        Debt& debt = counters_[index].debt;
        unlist_debt(index);
        if (!debt.waits()) {
            continue;
        }
        debt.id = fresh;
        debt.sent_at_ms = debt.at_ms;
        debt.resend_ms = now + kTellAgain;
        keep_order();
        debt.sent = debt.total;
        list_debt(index);
        return index;
    }
    return kNil;
}

Notice Book::notice_of_end(uint32_t index) noexcept {
    Hold& hold = holds_[index];
    Notice notice;
    notice.id = hold.id;
    notice.place = index;
    notice.first = !std::exchange(hold.in_doubt, true);
    notice.worker = hold.owner.number;
    notice.at_ms = hold.at_ms;
    notice.epoch = hold.epoch;
    notice.size = hold.size;
    for (size_t i = 0; i < hold.size; ++i) {
        const HoldEntry& entry = hold.entries[i];
        const Counter& counter = counters_[entry.counter];
        notice.parts[i] = {counter.name,     counter.name_size, counter.unit,
                           counter.window(), entry.amount,      hold.charged(entry, counter.unit)};
    }
    return notice;
}

Notice Book::notice_of_debt(uint32_t index, const llm::RequestId& fresh) const noexcept {
    const Counter& counter = counters_[index];
    const Debt& debt = counter.debt;
    Notice notice;
    notice.id = debt.id;
    notice.place = index;
    notice.debt = true;
    notice.first = debt.id == fresh;
    notice.at_ms = debt.sent_at_ms;
    notice.epoch = counter.has_epochs() ? counter.debt_epoch() : kNoEpochs;
    notice.size = 1;
    notice.parts[0] = {counter.name,         counter.name_size, counter.unit, counter.window(), 0,
                       debt.sent - debt.paid};
    return notice;
}

void Book::told(const NoticeRef& notice) noexcept {
    Update update(*this);
    if (notice.debt) {
        Counter& counter = counters_[notice.place];
        if (counter.listed == Counter::Listed::in_flight && counter.debt.id == notice.id) {
            counter.debt.paid = counter.debt.sent;
            unlist_debt(notice.place);
            list_debt(notice.place);
        }
    } else if (is_ended(notice)) {
        unlink(header_->ended, holds_, notice.place);
        --header_->untold;
        free_hold(notice.place);
    }
}

void Book::untold(const NoticeRef& notice) noexcept {
    Update update(*this);
    if (notice.debt) {
        Counter& counter = counters_[notice.place];
        if (counter.listed == Counter::Listed::in_flight && counter.debt.id == notice.id) {
            counter.debt.resend_ms = header_->clock_ms;
            unlink(header_->debts_in_flight, counters_, notice.place);
            push_front(header_->debts_in_flight, counters_, notice.place);
        }
    } else if (is_ended(notice)) {
        holds_[notice.place].deadline_ms = header_->clock_ms;
        unlink(header_->ended, holds_, notice.place);
        push_front(header_->ended, holds_, notice.place);
    }
}

bool Book::is_ended(const NoticeRef& notice) const noexcept {
    const Hold& hold = holds_[notice.place];
    return hold.state == Hold::State::ended && hold.id == notice.id;
}

}  // namespace ledger
