#include "module/restorer.hpp"

#include <hiredis/hiredis.h>

#include <algorithm>

namespace module {

namespace {

// The lock outlasts the longest step.
constexpr io::PostgresTimeouts kTimeouts{3000, 5000};
constexpr int64_t kLockMs = 10'000;

int64_t now_ms() noexcept {
    return static_cast<int64_t>(ngx_current_msec);
}

}  // namespace

Restorer::Restorer(RestorerConfig config)
    : config_(std::move(config)),
      postgres_(config_.conninfo, kTimeouts, *this),
      wait_(
          [](void* owner) noexcept {
              auto* self = static_cast<Restorer*>(owner);
              self->restoration_.waited();
              self->take_step();
          },
          this) {}

void Restorer::start(ledger::RedisLedger& ledger) noexcept {
    redis_ = &ledger.client();
    take_step();
}

void Restorer::take_step() noexcept {
    using Step = Restoration::Step;
    if (ngx_exiting || ngx_terminate) {
        return;
    }
    try {
        switch (restoration_.step()) {
            case Step::wait:
                return wait();
            case Step::look:
            case Step::write:
                return ask_redis(0);
            case Step::begin:
                return ask_redis(ledger::random_epoch());
            case Step::read:
                return read_page();
            case Step::finish:
                return finish();
        }
    } catch (const std::exception& error) {
        fail(error.what());
    }
}

void Restorer::ask_redis(ledger::Epoch next) {
    std::vector<ledger::RestoredSum> sums;
    for (const spend::BudgetSum& sum : page_) {
        sums.push_back({sum.counter, sum.start_ms, sum.end_ms, sum.nano_usd});
    }
    ledger::RestoreCall call{config_.key_prefix, config_.owner};
    call.lock_ms = kLockMs;
    call.epoch = restoration_.epoch();
    call.next = next;
    call.keep_ms = config_.keep_ms;
    call.sums = sums;
    if (!redis_->submit(ledger::encode(call), *this)) {
        on_reply(nullptr);
    }
}

void Restorer::on_reply(const redisReply* reply) noexcept {
    const auto answer = reply == nullptr ? std::nullopt : ledger::decode_restore(*reply);
    if (answer) {
        redis_now_ms_ = answer->now_ms;
        counters_ += answer->leads ? page_.size() : 0;
        restoration_.redis_answered(*answer, now_ms());
    } else {
        restoration_.redis_failed(now_ms());
    }
    page_.clear();
    take_step();
}

void Restorer::read_page() {
    if (postgres_.closed()) {
        return postgres_.connect();
    }
    if (restoration_.at_first_page()) {
        counters_ = 0;
        anew_ = restoration_.epoch() == 0;
        sums_.begin(restoration_.epoch(), redis_now_ms_);
    }
    postgres_.send(sums_.statement(), sums_.parameters());
}

void Restorer::on_postgres_ready() noexcept {
    take_step();
}

void Restorer::on_postgres_outcome(const io::PostgresOutcome& outcome) noexcept {
    if (!outcome.ok) {
        return fail(outcome.message);
    }
    try {
        take_page(outcome);
    } catch (const std::exception& error) {
        return fail(error.what());
    }
    take_step();
}

void Restorer::take_page(const io::PostgresOutcome& outcome) {
    page_ = sums_.take(outcome);
    restoration_.page_read(page_.size(), sums_.at_end());
}

void Restorer::finish() {
    sums_.finish(restoration_.epoch());
    failure_reported_ = false;
    if (anew_ || counters_ > 0) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "llm: Redis has got %uz budgets back from Postgres", counters_);
    }
    restoration_.finished(now_ms());
    take_step();
}

void Restorer::wait() noexcept {
    postgres_.close();
    const int64_t left = restoration_.due_ms() - now_ms();
    wait_.arm(static_cast<ngx_msec_t>(std::max<int64_t>(left, 0)));
}

// While nothing is read it is connected again when something is.
void Restorer::on_postgres_lost(std::string_view why) noexcept {
    if (restoration_.step() == Restoration::Step::read) {
        fail(why);
    }
}

// Once per outage.
void Restorer::fail(std::string_view why) noexcept {
    page_.clear();
    if (!std::exchange(failure_reported_, true)) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "llm: what budgets have used cannot be read from Postgres: %*s", why.size(),
                      why.data());
    }
    restoration_.postgres_failed(now_ms());
    take_step();
}

}  // namespace module
