#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace spend {

// Brings files to disk on a thread of its own: fdatasync takes as long as the disk likes, and the
// event loop must not wait for it. All methods are for the one thread that owns the object.
class DiskSync {
  public:
    // Starts the thread; it takes no signals. Throws std::system_error.
    DiskSync();
    // Waits until all that was posted is on disk.
    ~DiskSync();
    DiskSync(const DiskSync&) = delete;
    DiskSync& operator=(const DiskSync&) = delete;

    // What is written to the file so far is to go to disk. `fd` may be closed at once. False: out
    // of descriptors or memory (errno).
    bool post(int fd) noexcept;

    // All that was posted is done with.
    bool idle() noexcept;
    // An eventfd, counted up when that has come true.
    int idle_event() const noexcept { return idle_event_; }

    // errno of a file that could not be synced since the last call; 0: none.
    int take_error() noexcept { return error_.exchange(0); }

  private:
    void run() noexcept;
    void tell_idle() noexcept;

    const int idle_event_;
    std::mutex mutex_;  // of the next three
    std::condition_variable changed_;
    std::vector<int> posted_;  // duplicates that the thread closes
    bool stopping_ = false;
    bool syncing_ = false;
    std::atomic<int> error_ = 0;
    std::thread thread_;
};

}  // namespace spend
