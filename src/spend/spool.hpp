#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spend/disk_sync.hpp"
#include "spend/row.hpp"
#include "spend/segment.hpp"
#include "spend/spool_room.hpp"

namespace spend {

struct SpoolConfig {
    std::string directory;  // exists, and the worker may write to it
    // Bound of all segments in the directory, those of other workers included.
    uint64_t max_bytes = uint64_t{4} << 30;
    // A segment is closed at this size, or at max_bytes / 16.
    uint64_t segment_bytes = uint64_t{64} << 20;
    WhenFull when_full = WhenFull::reject;
    // `sync` takes rows to disk. Otherwise that is the kernel's business: rows outlive this
    // process, but not a loss of power.
    bool syncs = false;
};

struct SpoolCounters {
    uint64_t rows_appended = 0;
    uint64_t append_failures = 0;  // rows that are not in the spool, the refused ones included
    uint64_t rows_refused = 0;     // because the spool is full
};

// The rows of one worker on their way to disk: a row counts as recorded once `append` said so.
// Blocks no longer than a write to the page cache takes. Single-threaded.
class Spool {
  public:
    explicit Spool(SpoolConfig config);
    ~Spool();
    Spool(const Spool&) = delete;
    Spool& operator=(const Spool&) = delete;

    // False: the row is not recorded, the spool is as it was, and the next append tries again.
    bool append(const Row& row) noexcept;

    // Rows of requests that are admitted now can be written: there is an open segment, the last
    // write did not fail or another one would not, and there is room for those of requests under
    // way too.
    bool has_reserve() noexcept;

    // Rows were appended that no `sync` has taken yet.
    bool unsynced() const noexcept { return unsynced_; }
    // Sends the rows appended so far on their way to disk, without waiting; while the disk is at
    // work on earlier ones they stay `unsynced`. To be called at the interval that a loss of power
    // may cost. The destructor waits for the disk. False: they could not be sent.
    bool sync() noexcept;
    // So many of the rows appended are on disk, or could not be brought there, as of the last
    // `sync`.
    uint64_t rows_synced() const noexcept { return rows_synced_; }
    // An eventfd, counted up when no row is on its way any more. Only of a spool that `syncs`.
    int synced_event() const noexcept { return disk_->idle_event(); }

    // What went wrong since the last call, for an operator; empty: nothing new. At most one
    // sentence a second.
    std::string take_error();
    // That it fills up, or drops rows, likewise.
    std::string take_warning() noexcept { return room_.take_warning(); }

    const SpoolCounters& counters() const noexcept { return counters_; }
    const std::string& directory() const noexcept { return config_.directory; }

    // For the reader:
    // From now on closed segments stay locked until `take_closed` hands them over. Without a reader
    // they are just closed: the spool is then the spend log.
    void keep_closed() noexcept { keeps_closed_ = true; }
    std::vector<std::unique_ptr<Segment>> take_closed() noexcept {
        return std::exchange(closed_, {});
    }
    // The segment that is appended to; nullptr: none. It may move to the closed ones at any append.
    Segment* active() noexcept { return active_.get(); }
    // The next append begins a new segment.
    void close_active() noexcept;
    // Files were deleted: there may be room again.
    void forget_usage() noexcept { room_.forget(); }
    bool drops_oldest() const noexcept { return room_.drops_oldest(); }
    void report(std::string error) noexcept { error_ = std::move(error); }

  private:
    bool append_line();
    bool open_segment();
    void sync_new_name() noexcept;
    bool post_sync(int fd) noexcept;
    bool post_active() noexcept;
    void report_sync_error(int error) noexcept;
    bool claim_and_write();
    bool write_line();
    bool takes_rows_again();
    void report_append_error(int error);
    void close_if_unlinked(int64_t now_ms);

    SpoolConfig config_;
    SpoolRoom room_;
    std::unique_ptr<Segment> active_;
    std::vector<std::unique_ptr<Segment>> closed_;
    bool keeps_closed_ = false;
    bool write_failed_ = false;  // of the last line
    std::optional<DiskSync> disk_;
    bool unsynced_ = false;     // rows of active_
    uint64_t rows_posted_ = 0;  // to disk_
    uint64_t rows_synced_ = 0;

    std::string line_;             // reused from row to row
    int64_t checked_link_ms_ = 0;  // monotonic, as the next
    int64_t reported_at_ms_ = 0;

    SpoolCounters counters_;
    std::string error_;
};

}  // namespace spend
