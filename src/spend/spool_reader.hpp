#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "spend/spool.hpp"

namespace spend {

// Reads back what workers spooled: this worker's own rows and those that dead owners left. Lines of
// one segment are read ahead, then either committed (stored for good) or rewound (read again).
// A segment that is closed and wholly committed is deleted. Single-threaded, in the spool's thread.
class SpoolReader {
  public:
    explicit SpoolReader(Spool& spool) : spool_(spool) { spool_.keep_closed(); }

    // Takes over segments whose owner is dead. To be called at start and every few seconds.
    void adopt_orphans();

    // Lets go of closed segments that were dropped to make room: they take disk space for as long
    // as they are held.
    void forget_dropped();

    // Appends to `lines` at most `max_lines` next whole lines, without their newline, of at most
    // `max_bytes`. The views live until the next call of `read`. False: nothing (more) to read in
    // this segment, so what was read is to be committed before reading goes on.
    // What is torn is skipped.
    bool read(size_t max_lines, size_t max_bytes, std::vector<std::string_view>& lines);

    // Everything read so far is stored for good. False: nothing was read.
    bool commit();
    // Nothing read since the last commit is: it will be read again.
    void rewind() noexcept;

    // Deletes all that is committed, the active segment too: to be called every few seconds, so
    // that an idle worker holds nothing of a small spool, and before the worker exits.
    void give_back();

    // There are closed segments to read, so more than this worker's latest rows.
    bool catching_up() const noexcept { return !held_.empty(); }
    uint64_t backlog_bytes();  // not committed yet, in the segments that this worker holds
    uint64_t torn_lines() const noexcept { return torn_lines_; }

  private:
    void hold(std::unique_ptr<Segment> segment);
    void collect_closed();
    Segment* select();
    bool fill(const Segment& segment, size_t max_bytes, std::string_view& bytes);
    void give_up(const Segment& segment, const char* why);
    void drop_if_done(Segment* segment);

    Spool& spool_;
    std::vector<std::unique_ptr<Segment>> held_;  // closed ones, oldest first
    Segment* reading_ = nullptr;                  // among held_, or the active one
    uint64_t position_ = 0;                       // in reading_, behind the last line read
    uint64_t torn_read_ = 0;                      // since the last commit
    uint64_t torn_lines_ = 0;
    std::string buffer_;
};

}  // namespace spend
