#include "spend/disk_sync.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>

namespace {

size_t open_descriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<size_t>(std::distance(begin(all), end(all)));
}

// An eventfd cannot be synced: the error shows that the thread tried.
TEST(DiskSync, SyncsWhatIsPostedAndTellsOfErrors) {
    const int event = ::eventfd(0, EFD_CLOEXEC);
    const int file = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    ASSERT_GE(event, 0);
    ASSERT_GE(file, 0);
    spend::DiskSync disk;
    EXPECT_TRUE(disk.idle());
    ASSERT_TRUE(disk.post(file));
    ASSERT_TRUE(disk.post(event));
    while (!disk.idle()) {
        std::this_thread::yield();
    }
    EXPECT_EQ(disk.take_error(), EINVAL);
    EXPECT_EQ(disk.take_error(), 0);
    ::close(file);
    ::close(event);
}

TEST(DiskSync, EndsOnlyWhenAllIsDoneAndClosesItsDuplicates) {
    const size_t before = open_descriptors();
    {
        spend::DiskSync disk;
        for (int i = 0; i < 100; ++i) {
            const int file = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
            ASSERT_TRUE(disk.post(file));
            ::close(file);
        }
    }
    EXPECT_EQ(open_descriptors(), before);
}

TEST(DiskSync, TellsWhenAllIsDone) {
    spend::DiskSync disk;
    const int file = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(disk.post(file));
        pollfd event{disk.idle_event(), POLLIN, 0};
        ASSERT_EQ(::poll(&event, 1, 10'000), 1);
        uint64_t times = 0;
        ASSERT_EQ(::read(event.fd, &times, sizeof(times)), static_cast<ssize_t>(sizeof(times)));
        EXPECT_TRUE(disk.idle());
        EXPECT_EQ(::poll(&event, 1, 0), 0);
    }
    ::close(file);
}

TEST(DiskSync, ABadDescriptorIsAnErrorAtOnce) {
    spend::DiskSync disk;
    EXPECT_FALSE(disk.post(-1));
    EXPECT_EQ(errno, EBADF);
    EXPECT_TRUE(disk.idle());
}

// nginx's handlers expect to run in the thread of the event loop.
TEST(DiskSync, TheThreadTakesNoSignals) {
    static volatile sig_atomic_t taken_by_owner = 0;
    static thread_local bool owner = false;
    owner = true;
    const auto before = ::signal(SIGUSR1, [](int) { taken_by_owner = owner ? 1 : -1; });
    {
        spend::DiskSync disk;
        sigset_t usr1;
        ::sigemptyset(&usr1);
        ::sigaddset(&usr1, SIGUSR1);
        ::pthread_sigmask(SIG_BLOCK, &usr1, nullptr);
        ::kill(::getpid(), SIGUSR1);  // another thread would take it now
        const int file = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        ASSERT_TRUE(disk.post(file));
        ::close(file);
        while (!disk.idle()) {
            std::this_thread::yield();
        }
        EXPECT_EQ(taken_by_owner, 0);
        ::pthread_sigmask(SIG_UNBLOCK, &usr1, nullptr);
    }
    EXPECT_EQ(taken_by_owner, 1);
    ::signal(SIGUSR1, before);
}

}  // namespace
