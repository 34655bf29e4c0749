#include "spend/disk_sync.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <exception>
#include <system_error>
#include <utility>

namespace spend {

namespace {

// Signals are for the thread that owns the event loop; a new thread inherits the mask of its maker.
class BlockedSignals {
  public:
    BlockedSignals() noexcept {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~BlockedSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    BlockedSignals(const BlockedSignals&) = delete;
    BlockedSignals& operator=(const BlockedSignals&) = delete;

  private:
    sigset_t before_;
};

// A file that is deleted already needs no disk. 0 or errno.
int sync_and_close(int fd) noexcept {
    struct stat st;
    const bool deleted = ::fstat(fd, &st) == 0 && st.st_nlink == 0;
    const int error = deleted || ::fdatasync(fd) == 0 ? 0 : errno;
    ::close(fd);
    return error;
}

int make_event() {
    const int event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event < 0) {
        throw std::system_error(errno, std::generic_category(), "eventfd");
    }
    return event;
}

}  // namespace

DiskSync::DiskSync() : idle_event_(make_event()) {
    const BlockedSignals blocked;
    thread_ = std::thread([this] { run(); });
}

DiskSync::~DiskSync() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
    ::close(idle_event_);
}

bool DiskSync::post(int fd) noexcept {
    const int duplicate = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (duplicate < 0) {
        return false;
    }
    try {
        const std::lock_guard lock(mutex_);
        posted_.push_back(duplicate);
    } catch (const std::exception&) {
        ::close(duplicate);
        errno = ENOMEM;
        return false;
    }
    changed_.notify_one();
    return true;
}

bool DiskSync::idle() noexcept {
    const std::lock_guard lock(mutex_);
    return posted_.empty() && !syncing_;
}

void DiskSync::run() noexcept {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [this] { return stopping_ || !posted_.empty(); });
        if (posted_.empty()) {
            return;
        }
        std::vector<int> batch = std::exchange(posted_, {});
        syncing_ = true;
        lock.unlock();
        for (const int fd : batch) {
            if (const int error = sync_and_close(fd); error != 0) {
                error_ = error;
            }
        }
        lock.lock();
        syncing_ = false;
        if (posted_.empty()) {
            tell_idle();
        }
    }
}

void DiskSync::tell_idle() noexcept {
    const uint64_t once = 1;
    // Fails only where it has been told already, so often that it cannot count on.
    [[maybe_unused]] const ssize_t written = ::write(idle_event_, &once, sizeof(once));
}

}  // namespace spend
