// Processes that share a book, and die at it.

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <random>
#include <thread>
#include <vector>

#include "book_support.hpp"
#include "ledger/window.hpp"

namespace ledger {
namespace {

struct Shared {
    pthread_mutex_t mutex;
    std::atomic<int64_t> admitted, inside, most_inside, owner_deaths;
    std::atomic<uint64_t> last_id;
    alignas(64) std::byte region[512 * 1024];
};

class SharedBook {
  public:
    SharedBook()
        : shared(static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                                           MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(&shared->mutex, &attributes);
        book.emplace(*Book::format(shared->region, sizeof(shared->region)));
    }
    ~SharedBook() { munmap(shared, sizeof(Shared)); }

    template <class Work>
    auto locked(Work work) {
        if (pthread_mutex_lock(&shared->mutex) == EOWNERDEAD) {
            pthread_mutex_consistent(&shared->mutex);
            ++shared->owner_deaths;
        }
        auto result = work(*book);
        pthread_mutex_unlock(&shared->mutex);
        return result;
    }

    bool reserve(uint64_t id, Owner owner, std::initializer_list<Claim> claims) {
        return locked([&](Book& b) {
                   return b.reserve(request(id), owner, {claims.begin(), claims.size()}, kStart);
               }).outcome == Outcome::admitted;
    }

    Shared* shared;
    std::optional<Book> book;
};

template <class Work>
pid_t spawn(Work work) {
    const pid_t pid = fork();
    if (pid == 0) {
        work();
        _exit(0);
    }
    return pid;
}

TEST(SharedBookTest, RacingProcessesNeverExceedALimit) {
    SharedBook ledger;
    const Meter money{"global:usd:1mo", Unit::nano_usd, {WindowKind::month, 0}};
    const Meter parallel{"global:parallel", Unit::parallel, {}};
    constexpr int64_t kLimit = 20'000;
    constexpr int64_t kAmount = 7;
    std::vector<pid_t> pids;
    for (int32_t slot = 0; slot < 4; ++slot) {
        pids.push_back(spawn([&, slot] {
            for (uint64_t n = 0; n < 3000; ++n) {
                const uint64_t id = n * 4 + static_cast<uint64_t>(slot);
                if (!ledger.reserve(id, {slot, getpid()},
                                    {money.claim(kLimit, kAmount), parallel.claim(3, 1)})) {
                    continue;
                }
                const int64_t inside = ++ledger.shared->inside;
                int64_t most = ledger.shared->most_inside;
                while (inside > most &&
                       !ledger.shared->most_inside.compare_exchange_weak(most, inside)) {
                }
                std::this_thread::yield();
                --ledger.shared->inside;
                ++ledger.shared->admitted;
                ledger.locked([&](Book& b) { return b.settle(request(id), {kAmount, 0, true}); });
            }
        }));
    }
    for (const pid_t pid : pids) {
        int status = 0;
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
    }
    EXPECT_EQ(ledger.shared->admitted, kLimit / kAmount);
    EXPECT_LE(ledger.shared->most_inside, 3);
    EXPECT_EQ(ledger.book->peek(money.claim(0, 0), kStart).used, kLimit / kAmount * kAmount);
    EXPECT_EQ(ledger.book->peek(parallel.claim(0, 0), kStart).used, 0);
    EXPECT_EQ(ledger.book->counts().holds, 0u);
}

TEST(SharedBookTest, KilledProcessesLoseDoubleAndBlockNothing) {
    SharedBook ledger;
    const Meter money{"global:usd:1mo", Unit::nano_usd, {WindowKind::month, 0}};
    const Meter rate{"global:tokens:sliding-1m", Unit::tokens, kMinute};
    const Meter parallel{"global:parallel", Unit::parallel, {}};
    constexpr int64_t kHeld = 10;
    constexpr int64_t kUsed = 4;
    constexpr int32_t kSlots = 3;
    constexpr int64_t kEnoughDeaths = 40;
    const auto work = [&](int32_t slot) {
        const Owner me{slot, getpid()};
        ledger.locked([&](Book& b) { return b.lapse_owner(me); });
        while (true) {
            const uint64_t id = ++ledger.shared->last_id;
            if (!ledger.reserve(id, me,
                                {money.claim(kNever, kHeld), rate.claim(kNever, kHeld),
                                 parallel.claim(kSlots, 1)})) {
                continue;
            }
            ++ledger.shared->admitted;
            ledger.locked([&](Book& b) { return b.settle(request(id), {kUsed, kUsed, true}); });
        }
    };
    std::array<pid_t, kSlots> pids{};
    for (int32_t slot = 0; slot < kSlots; ++slot) {
        pids[static_cast<size_t>(slot)] = spawn([&, slot] { work(slot); });
    }
    std::mt19937_64 random(11);
    int64_t kills = 0;
    const auto kill_slot = [&](size_t slot) {
        kill(pids[slot], SIGKILL);
        waitpid(pids[slot], nullptr, 0);
        ++kills;
    };
    while (ledger.shared->owner_deaths < kEnoughDeaths && kills < 1000) {
        usleep(static_cast<useconds_t>(500 + random() % 3000));
        const size_t slot = random() % kSlots;
        kill_slot(slot);
        pids[slot] = spawn([&, slot] { work(static_cast<int32_t>(slot)); });
    }
    for (size_t slot = 0; slot < kSlots; ++slot) {
        kill_slot(slot);
    }
    for (int32_t slot = 0; slot < kSlots; ++slot) {
        ledger.locked([&](Book& b) { return b.lapse_owner({slot, -1}); });
    }

    EXPECT_GE(ledger.shared->owner_deaths, 1);
    EXPECT_EQ(ledger.book->counts().holds, 0u);
    EXPECT_EQ(ledger.book->peek(parallel.claim(0, 0), kStart).used, 0);
    // A kill cuts short one request at most, which then is charged nothing, as used or as held.
    const int64_t admitted = ledger.shared->admitted;
    EXPECT_GT(admitted, kills);
    for (const Meter* meter : {&money, &rate}) {
        const int64_t used = ledger.book->peek(meter->claim(0, 0), kStart).used;
        EXPECT_GE(used, admitted * kUsed);
        EXPECT_LE(used, admitted * kUsed + kills * kHeld);
    }
    // Not one record has leaked.
    const BookCounts counts = ledger.book->counts();
    for (uint64_t n = 0; n < counts.hold_capacity; ++n) {
        ASSERT_TRUE(ledger.reserve(~n, {0, 0}, {money.claim(kNever, 0)}));
    }
    EXPECT_EQ(ledger.book->counts().holds, counts.hold_capacity);
}

}  // namespace
}  // namespace ledger
