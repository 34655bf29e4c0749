#include "spend/spool_room.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
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

// Bytes that this process may still write; without an answer as many as it likes.
uint64_t disk_left(const std::string& directory) noexcept {
    struct statvfs disk;
    if (::statvfs(directory.c_str(), &disk) != 0) {
        return uint64_t{1} << 62;
    }
    return uint64_t{disk.f_bavail} * disk.f_frsize;
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
    const uint64_t bytes = end - own.size();
    const uint64_t charge = (grains(end) - grains(own.size())) * grain_;
    SpoolListing listing = look();
    if (!fits(charge, bytes) && drops_oldest()) {
        drop_until([&] { return fits(charge, bytes); }, std::move(listing.segments), own.name());
    }
    if (!fits(charge, bytes)) {
        return std::nullopt;
    }
    charged_ += charge;
    return claim;
}

bool SpoolRoom::fits(uint64_t charge, uint64_t bytes) const noexcept {
    return charged_ + charge <= max_bytes_ && bytes <= disk_left_;
}

uint64_t SpoolRoom::left() const noexcept {
    return charged_ < max_bytes_ ? std::min(max_bytes_ - charged_, disk_left_) : 0;
}

bool SpoolRoom::has_reserve() {
    const int64_t every_ms = quarters_used() < 2 ? kLookEveryMs : kLookWhenHalfFullMs;
    if (stale_ || written_ > left() / 64 || monotonic_ms() - looked_at_ms_ >= every_ms) {
        look();
    }
    return charged_ + max_bytes_ / 16 < max_bytes_ && disk_left_ > (real_bytes_ + disk_left_) / 16;
}

SpoolListing SpoolRoom::look() {
    SpoolListing listing = list_spool(directory_);
    charged_ = real_bytes_ = listing.other_bytes;
    for (const SegmentFile& file : listing.segments) {
        charged_ += grains(file.bytes) * grain_;
        real_bytes_ += file.bytes;
    }
    disk_left_ = disk_left(directory_);
    written_ = 0;
    looked_at_ms_ = monotonic_ms();
    stale_ = false;
    warn();
    return listing;
}

// By the time of the last row, not of the first: an idle worker's file may be old and its last row
// new.
template <class Fits>
void SpoolRoom::drop_until(Fits fits, std::vector<SegmentFile> files, const std::string& own) {
    std::sort(files.begin(), files.end(), [](const SegmentFile& a, const SegmentFile& b) {
        return std::pair(a.written_ns, a.name) < std::pair(b.written_ns, b.name);
    });
    for (const SegmentFile& file : files) {
        if (fits()) {
            return;
        }
        if (file.name == own) {
            continue;
        }
        remove_segment(directory_, file.name);
        charged_ -= grains(file.bytes) * grain_;
        real_bytes_ -= file.bytes;
        disk_left_ += file.bytes;
        dropped_bytes_ += file.bytes;
        warning_ = "the spool \"" + directory_ + "\" is full: dropped \"" + file.name + "\", " +
                   std::to_string(dropped_bytes_) + " bytes so far";
    }
}

// Of max_size or of what the disk leaves for the spool, whichever is fuller.
unsigned SpoolRoom::percent_used() const noexcept {
    const uint64_t of_disk = std::max<uint64_t>(real_bytes_ + disk_left_, 1);
    return static_cast<unsigned>(
        std::max(charged_ * 100 / max_bytes_, real_bytes_ * 100 / of_disk));
}

// When a quarter is crossed, from the half on, and now and then while it stays so full.
void SpoolRoom::warn() {
    const int64_t now_ms = monotonic_ms();
    const unsigned quarters = quarters_used();
    if (quarters < 2 || (quarters <= warned_quarters_ && now_ms - warned_at_ms_ < kWarnEveryMs)) {
        return;
    }
    warned_quarters_ = quarters;
    warned_at_ms_ = now_ms;
    warning_ = "the spool \"" + directory_ + "\" is at " + std::to_string(percent_used()) +
               " % of max_size or the disk";
}

}  // namespace spend
