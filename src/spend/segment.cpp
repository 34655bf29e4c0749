#include "spend/segment.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstring>

namespace spend {

namespace {

constexpr std::string_view kSegmentSuffix = ".jsonl";
constexpr std::string_view kPosSuffix = ".pos";
constexpr std::string_view kPosTempSuffix = ".pos.tmp";
constexpr int kCreateTries = 100;

class Fd {
  public:
    explicit Fd(int fd) noexcept : fd_(fd) {}
    ~Fd() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    int get() const noexcept { return fd_; }

  private:
    int fd_;
};

int64_t unix_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

int64_t nanoseconds(const timespec& time) noexcept {
    return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::string next_name() {
    static unsigned number = 0;
    char name[64];
    std::snprintf(name, sizeof(name), "%013lld-%ld-%06u.jsonl", static_cast<long long>(unix_ms()),
                  static_cast<long>(::getpid()), number++);
    return name;
}

// "<digits>-<digits>-<digits>.jsonl": nothing else in the directory is ever touched.
bool is_segment_name(std::string_view name) noexcept {
    if (!name.ends_with(kSegmentSuffix)) {
        return false;
    }
    name.remove_suffix(kSegmentSuffix.size());
    for (int part = 0; part < 3; ++part) {
        const size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
        if (digits == 0) {
            return false;
        }
        name.remove_prefix(digits);
        if (part < 2) {
            if (!name.starts_with('-')) {
                return false;
            }
            name.remove_prefix(1);
        }
    }
    return name.empty();
}

// The segment's name if `name` is a sidecar's, else empty.
std::string_view segment_of_sidecar(std::string_view name) noexcept {
    for (const std::string_view suffix : {kPosTempSuffix, kPosSuffix}) {
        if (name.ends_with(suffix)) {
            name.remove_suffix(suffix.size());
            return is_segment_name(name) ? name : std::string_view{};
        }
    }
    return {};
}

// 0 for a sidecar that is missing or not whole: a replay from the start doubles nothing, since a
// stored row is not stored again.
uint64_t read_position(const std::string& path) noexcept {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char text[32];
    const ssize_t n = fd.get() < 0 ? -1 : ::read(fd.get(), text, sizeof(text));
    if (n < 2 || text[n - 1] != '\n') {
        return 0;
    }
    uint64_t position = 0;
    const auto parsed = std::from_chars(text, text + n - 1, position);
    return parsed.ec == std::errc() && parsed.ptr == text + n - 1 ? position : 0;
}

bool write_position(const std::string& path, uint64_t position) {
    char text[32];
    const int length =
        std::snprintf(text, sizeof(text), "%llu\n", static_cast<unsigned long long>(position));
    const std::string temp = path + ".tmp";
    {
        const Fd fd(::open(temp.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        if (fd.get() < 0 || ::write(fd.get(), text, static_cast<size_t>(length)) != length) {
            return false;
        }
    }
    return ::rename(temp.c_str(), path.c_str()) == 0;
}

std::string describe(const char* what, const std::string& path) {
    return std::string(what) + " \"" + path + "\": " + std::strerror(errno);
}

}  // namespace

Segment::Segment(int fd, const std::string& directory, std::string name)
    : fd_(fd),
      name_(std::move(name)),
      path_(directory + "/" + name_),
      pos_path_(path_ + std::string(kPosSuffix)) {}

Segment::~Segment() {
    ::close(fd_);
}

// Only who holds the lock deletes a file, so one that still has its name after we got the lock
// stays.
bool Segment::lock() noexcept {
    return ::flock(fd_, LOCK_EX | LOCK_NB) == 0 && !unlinked();
}

std::unique_ptr<Segment> Segment::create(const std::string& directory, std::string& error) {
    for (int i = 0; i < kCreateTries; ++i) {
        std::string name = next_name();
        const std::string path = directory + "/" + name;
        const int fd = ::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 && errno == EEXIST) {
            continue;
        }
        if (fd < 0) {
            error = describe("cannot create", path);
            return nullptr;
        }
        std::unique_ptr<Segment> segment(new Segment(fd, directory, std::move(name)));
        // Another worker may have taken the new file for an orphan before we locked it.
        if (segment->lock()) {
            return segment;
        }
    }
    error = "cannot create a segment in \"" + directory + "\": every name is taken";
    return nullptr;
}

std::unique_ptr<Segment> Segment::adopt(const std::string& directory, const std::string& name,
                                        std::string& error) {
    error.clear();
    const std::string path = directory + "/" + name;
    const int fd = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        if (errno != ENOENT) {
            error = describe("cannot open", path);
        }
        return nullptr;
    }
    std::unique_ptr<Segment> segment(new Segment(fd, directory, name));
    struct stat st;
    if (!segment->lock() || ::fstat(fd, &st) != 0) {
        return nullptr;
    }
    segment->size_ = static_cast<uint64_t>(st.st_size);
    const uint64_t position = read_position(segment->pos_path_);
    segment->committed_ = position <= segment->size_ ? position : 0;
    return segment;
}

bool Segment::append(std::string_view line) noexcept {
    ssize_t written = 0;
    do {
        written = ::write(fd_, line.data(), line.size());
    } while (written < 0 && errno == EINTR);

    if (written == static_cast<ssize_t>(line.size())) {
        size_ += line.size();
        return true;
    }
    const int reason = written < 0 ? errno : ENOSPC;
    if (written > 0 && ::ftruncate(fd_, static_cast<off_t>(size_)) != 0) {
        damaged_ = true;
    }
    errno = reason;
    return false;
}

bool Segment::can_grow(uint64_t bytes) noexcept {
    return ::fallocate(fd_, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(size_),
                       static_cast<off_t>(bytes)) == 0 ||
           errno == EOPNOTSUPP || errno == EINTR;
}

ssize_t Segment::read_at(uint64_t offset, char* to, size_t bytes) const noexcept {
    const uint64_t left = size_ > offset ? size_ - offset : 0;
    ssize_t n = 0;
    do {
        n = ::pread(fd_, to, std::min<uint64_t>(bytes, left), static_cast<off_t>(offset));
    } while (n < 0 && errno == EINTR);
    return n;
}

bool Segment::commit(uint64_t position) noexcept {
    committed_ = position;
    try {
        return write_position(pos_path_, position);
    } catch (...) {
        errno = ENOMEM;
        return false;
    }
}

void Segment::remove() noexcept {
    ::unlink(path_.c_str());
    ::unlink(pos_path_.c_str());
}

bool Segment::unlinked() const noexcept {
    struct stat ours;
    struct stat named;
    return ::fstat(fd_, &ours) != 0 || ::stat(path_.c_str(), &named) != 0 ||
           ours.st_ino != named.st_ino || ours.st_dev != named.st_dev;
}

bool Segment::deleted() const noexcept {
    struct stat st;
    return ::fstat(fd_, &st) == 0 && st.st_nlink == 0;
}

SpoolListing list_spool(const std::string& directory) {
    SpoolListing listing;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory.c_str()), ::closedir);
    if (!dir) {
        return listing;
    }
    const int dir_fd = ::dirfd(dir.get());
    while (const dirent* entry = ::readdir(dir.get())) {
        const std::string name = entry->d_name;
        struct stat st;
        if (::fstatat(dir_fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(st.st_mode)) {
            continue;
        }
        const auto bytes = static_cast<uint64_t>(st.st_size);
        if (is_segment_name(name)) {
            listing.segments.push_back({name, bytes, nanoseconds(st.st_mtim)});
            continue;
        }
        listing.other_bytes += bytes;
        if (const std::string owner(segment_of_sidecar(name));
            !owner.empty() && ::faccessat(dir_fd, owner.c_str(), F_OK, 0) != 0) {
            ::unlinkat(dir_fd, name.c_str(), 0);
        }
    }
    std::sort(listing.segments.begin(), listing.segments.end(),
              [](const SegmentFile& a, const SegmentFile& b) { return a.name < b.name; });
    return listing;
}

void remove_segment(const std::string& directory, const std::string& name) noexcept {
    const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const Fd owner(fd);
    char sidecar[NAME_MAX + 1];
    std::snprintf(sidecar, sizeof(sidecar), "%s%s", name.c_str(), kPosSuffix.data());
    ::unlinkat(fd, name.c_str(), 0);
    ::unlinkat(fd, sidecar, 0);
}

}  // namespace spend
