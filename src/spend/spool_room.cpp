#include "spend/spool_room.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "spend/clock.hpp"

namespace spend {

namespace {

constexpr int64_t kLookEveryMs = 5000;
constexpr int64_t kLookWhenHalfFullMs = 100;
constexpr int64_t kWarnEveryMs = 600'000;

// Coarse enough that the look at the directory costs little per row, fine enough that what segments
// do not use of their last grain is little of the whole.
uint64_t grain_of(uint64_t max_bytes, uint64_t segment_bytes) noexcept {
    const uint64_t grain = std::max(max_bytes / 1024, uint64_t{64} << 10);
    return std::max<uint64_t>(std::min(grain, segment_bytes / 4), 1);
}

}  // namespace

SpoolRoom::SpoolRoom(std::string directory, uint64_t max_bytes, uint64_t segment_bytes,
                     WhenFull when_full)
    : directory_(std::move(directory)),
      max_bytes_(max_bytes),
      grain_(grain_of(max_bytes, segment_bytes)),
      when_full_(when_full) {}

SpoolRoom::Claim::~Claim() {
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

std::optional<SpoolRoom::Claim> SpoolRoom::claim(const Segment& own, uint64_t end) {
    const int fd = ::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return std::nullopt;
    }
    Claim claim(fd);
    while (::flock(fd, LOCK_EX) != 0) {
        if (errno != EINTR) {
            return std::nullopt;
        }
    }
    const uint64_t wanted = (grains(end) - grains(own.size())) * grain_;
    SpoolListing listing = look();
    if (used_ + wanted > max_bytes_ && drops_oldest()) {
        drop_for(wanted, std::move(listing.segments), own.name());
    }
    if (used_ + wanted > max_bytes_) {
        return std::nullopt;
    }
    used_ += wanted;
    return claim;
}

bool SpoolRoom::has(uint64_t bytes) {
    const int64_t every_ms = used_ > max_bytes_ / 2 ? kLookWhenHalfFullMs : kLookEveryMs;
    if (stale_ || monotonic_ms() - looked_at_ms_ >= every_ms) {
        look();
    }
    return used_ + bytes <= max_bytes_;
}

SpoolListing SpoolRoom::look() {
    SpoolListing listing = list_spool(directory_);
    used_ = charge(listing);
    looked_at_ms_ = monotonic_ms();
    stale_ = false;
    warn();
    return listing;
}

uint64_t SpoolRoom::charge(const SpoolListing& listing) const noexcept {
    uint64_t bytes = listing.other_bytes;
    for (const SegmentFile& file : listing.segments) {
        bytes += grains(file.bytes) * grain_;
    }
    return bytes;
}

// By the time of the last row, not of the first: an idle worker's file may be old and its last row
// new.
void SpoolRoom::drop_for(uint64_t bytes, std::vector<SegmentFile> files, const std::string& own) {
    std::sort(files.begin(), files.end(), [](const SegmentFile& a, const SegmentFile& b) {
        return std::pair(a.written_ns, a.name) < std::pair(b.written_ns, b.name);
    });
    for (const SegmentFile& file : files) {
        if (used_ + bytes <= max_bytes_) {
            return;
        }
        if (file.name == own) {
            continue;
        }
        remove_segment(directory_, file.name);
        used_ -= grains(file.bytes) * grain_;
        dropped_bytes_ += file.bytes;
        warning_ = "the spool \"" + directory_ + "\" is full (max_size): dropped \"" + file.name +
                   "\", " + std::to_string(dropped_bytes_) + " bytes so far";
    }
}

// When a quarter is crossed, from the half on, and now and then while it stays so full.
void SpoolRoom::warn() {
    const auto quarters = static_cast<unsigned>(used_ / std::max<uint64_t>(max_bytes_ / 4, 1));
    const int64_t now_ms = monotonic_ms();
    if (quarters < 2 ||
        (quarters <= warned_quarters_ && now_ms - warned_at_ms_ < kWarnEveryMs)) {
        return;
    }
    warned_quarters_ = quarters;
    warned_at_ms_ = now_ms;
    warning_ = "the spool \"" + directory_ + "\" is at " +
               std::to_string(used_ * 100 / max_bytes_) + " % of max_size";
}

}  // namespace spend
