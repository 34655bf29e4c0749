#pragma once

#include <cstdint>

#include "ledger/redis_restore.hpp"

namespace module {

// In which order a node brings money that Redis has lost back from Postgres, and when. It does
// nothing itself: whoever drives it takes one step after the other and says how each has ended.
//
// Looks at Redis all the time. If there is no epoch, it reads all sums and writes them, and then
// begins one. Later it reads what rows of earlier epochs have added, which were late: often at
// first, less and less often as long as there is nothing. One node of all does so.
//
// Times of the driver's clock in milliseconds.
class Restoration {
  public:
    enum class Step : uint8_t {
        wait,    // until due_ms()
        look,    // at Redis, writing nothing
        read,    // the next page of sums, of all epochs but epoch(), from Postgres
        write,   // it to Redis
        begin,   // the epoch in Redis
        finish,  // all that was read is in Redis, in epoch()
    };

    static constexpr int64_t kLookMs = 500;
    static constexpr int64_t kFirstReadMs = 1000;
    static constexpr int64_t kLastReadMs = 300'000;
    static constexpr int64_t kLongestRetryMs = 15'000;

    Step step() const noexcept { return step_; }
    int64_t due_ms() const noexcept { return look_at_ms_; }
    ledger::Epoch epoch() const noexcept { return epoch_; }  // Redis's; 0: none
    bool at_first_page() const noexcept { return first_page_; }

    void waited() noexcept;
    // What Redis answers to look, write and begin.
    void redis_answered(const ledger::RestoreReply& reply, int64_t now_ms) noexcept;
    void redis_failed(int64_t now_ms) noexcept;
    // A page of so many sums.
    void page_read(size_t sums, bool is_last) noexcept;
    void postgres_failed(int64_t now_ms) noexcept;
    void finished(int64_t now_ms) noexcept;

  private:
    void wait(int64_t until_ms) noexcept;
    void looked(const ledger::RestoreReply& reply, int64_t now_ms) noexcept;
    void end_page() noexcept;

    Step step_ = Step::look;
    ledger::Epoch epoch_ = 0;
    ledger::Epoch complete_ = 0;  // the epoch whose sums were read to the end before
    int64_t look_at_ms_ = 0;
    int64_t read_at_ms_ = 0;
    int64_t read_every_ms_ = kFirstReadMs;
    int64_t retry_ms_ = kLookMs;
    bool first_page_ = true;
    bool last_page_ = false;
    bool found_ = false;  // a sum, in this reading
};

}  // namespace module
