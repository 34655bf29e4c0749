#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace spend {

// One file of the spool, held under its exclusive lock for as long as the object lives: the lock is
// what tells a living owner from a dead one. Lines end in '\n'. How much of the file is stored for
// good stands in the sidecar "<name>.pos".
class Segment {
  public:
    // A new empty file "<unix ms>-<pid>-<number>.jsonl". nullptr: `error` says why.
    static std::unique_ptr<Segment> create(const std::string& directory, std::string& error);

    // The file of a dead owner. nullptr: its owner lives, or it is gone (`error` is empty), or it
    // cannot be read (`error` says why).
    static std::unique_ptr<Segment> adopt(const std::string& directory, const std::string& name,
                                          std::string& error);

    ~Segment();
    Segment(const Segment&) = delete;
    Segment& operator=(const Segment&) = delete;

    // One write of a whole line with its newline. On failure (errno) the file ends where it ended
    // before; if even that failed it is `damaged` and must not be appended to again.
    bool append(std::string_view line) noexcept;
    bool damaged() const noexcept { return damaged_; }
    // The disk takes so many bytes more, as far as it tells without a write; else errno. Those are
    // set aside for this file.
    bool can_grow(uint64_t bytes) noexcept;

    // Up to `bytes` bytes from `offset` on, less at the end; -1 with errno.
    ssize_t read_at(uint64_t offset, char* to, size_t bytes) const noexcept;

    // All before `position` is stored for good. False: the sidecar could not be written (errno), so
    // a successor would replay more than it needs to.
    bool commit(uint64_t position) noexcept;

    // Deletes the file and its sidecar. The object stays valid.
    void remove() noexcept;
    // Somebody else deleted or moved away what we append to.
    bool unlinked() const noexcept;
    // Somebody else deleted it; asks the file alone.
    bool deleted() const noexcept;

    int fd() const noexcept { return fd_; }
    const std::string& name() const noexcept { return name_; }
    uint64_t size() const noexcept { return size_; }
    uint64_t committed() const noexcept { return committed_; }

  private:
    Segment(int fd, const std::string& directory, std::string name);
    bool lock() noexcept;

    int fd_;
    std::string name_;
    std::string path_;
    std::string pos_path_;
    uint64_t size_ = 0;
    uint64_t committed_ = 0;
    bool damaged_ = false;
};

struct SegmentFile {
    std::string name;
    uint64_t bytes = 0;
    int64_t written_ns = 0;  // time of the last write
};

// What a spool directory holds.
struct SpoolListing {
    std::vector<SegmentFile> segments;  // in the order of their making
    uint64_t other_bytes = 0;           // of all other regular files
};

// Also deletes sidecars that a crash left without their segment. An unreadable directory is empty.
SpoolListing list_spool(const std::string& directory);

// Deletes a segment and its sidecar, whoever owns it.
void remove_segment(const std::string& directory, const std::string& name) noexcept;

}  // namespace spend
