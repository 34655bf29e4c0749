#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "spend/segment.hpp"

namespace spend {

enum class WhenFull : uint8_t {
    reject,      // new rows are refused
    drop_oldest  // the segments that were not written to for longest are deleted
};

// Keeps the segments of a spool directory, those of all its workers together, within `max_bytes`,
// and within what the disk has left.
//
// A segment is charged in whole grains. Its owner lets it grow within the last one as it likes; to
// begin another it takes the directory's lock, looks at all files, and writes before it lets go, so
// that the next one to look sees it.
class SpoolRoom {
  public:
    SpoolRoom(std::string directory, uint64_t max_bytes, uint64_t segment_bytes,
              WhenFull when_full);

    // The directory's lock for as long as the object lives.
    class Claim {
      public:
        explicit Claim(int directory_fd) noexcept : fd_(directory_fd) {}
        ~Claim();
        Claim(Claim&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

      private:
        int fd_;
    };

    // The segment may grow to `end` without a claim.
    bool covers(uint64_t size, uint64_t end) const noexcept { return grains(size) == grains(end); }
    // The segment may grow to `end` while the claim lives; none: there is no room. `own` is not
    // dropped for it. Blocks while another worker looks at the directory and writes a line.
    std::optional<Claim> claim(const Segment& own, uint64_t end);

    // A sixteenth is left, as of a look a short while ago.
    bool has_reserve();
    // A row was written.
    void wrote(uint64_t bytes) noexcept { written_ += bytes; }
    // Files were deleted: look again.
    void forget() noexcept { stale_ = true; }
    bool drops_oldest() const noexcept { return when_full_ == WhenFull::drop_oldest; }

    // For the error log, once each. Empty: nothing new.
    std::string take_warning() noexcept { return std::exchange(warning_, {}); }
    uint64_t dropped_bytes() const noexcept { return dropped_bytes_; }

  private:
    uint64_t grains(uint64_t bytes) const noexcept { return (bytes + grain_ - 1) / grain_; }
    bool fits(uint64_t charge, uint64_t bytes) const noexcept;
    uint64_t left() const noexcept;
    SpoolListing look();
    template <class Fits>
    void drop_until(Fits fits, std::vector<SegmentFile> files, const std::string& own);
    unsigned percent_used() const noexcept;
    unsigned quarters_used() const noexcept { return percent_used() / 25; }
    void warn();

    const std::string directory_;
    const uint64_t max_bytes_;
    const uint64_t grain_;
    const WhenFull when_full_;

    // When last looked at:
    uint64_t charged_ = 0;
    uint64_t real_bytes_ = 0;  // of all files
    uint64_t disk_left_ = 0;
    uint64_t written_ = 0;      // by this worker since then
    int64_t looked_at_ms_ = 0;  // monotonic, as the next
    int64_t warned_at_ms_ = 0;
    unsigned warned_quarters_ = 0;
    bool stale_ = true;
    uint64_t dropped_bytes_ = 0;
    std::string warning_;
};

}  // namespace spend
