#include "spend/spool.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>

#include "spend/spool_reader.hpp"

namespace {

namespace fs = std::filesystem;
using spend::Spool;
using spend::SpoolReader;

spend::Row row_number(int64_t number) {
    spend::Row row;
    row.started_ms = number;
    row.model = "gpt-4o-mini";
    return row;
}

int64_t number_of(std::string_view line) {
    constexpr std::string_view kName = R"("started_at":)";
    return std::stoll(std::string(line.substr(line.find(kName) + kName.size(), 20)));
}

// Until nothing is on its way any more.
void wait_for_disk(const Spool& spool) {
    pollfd event{spool.synced_event(), POLLIN, 0};
    uint64_t times = 0;
    ASSERT_EQ(::poll(&event, 1, 10'000), 1);
    ASSERT_EQ(::read(event.fd, &times, sizeof(times)), static_cast<ssize_t>(sizeof(times)));
}

class SpoolTest : public testing::Test {
  protected:
    void SetUp() override {
        char path[] = "/tmp/llm-spool-XXXXXX";
        ASSERT_NE(::mkdtemp(path), nullptr);
        directory_ = path;
    }
    void TearDown() override { fs::remove_all(directory_); }

    spend::SpoolConfig config() const {
        spend::SpoolConfig config;
        config.directory = directory_;
        config.max_bytes = uint64_t{1} << 30;
        return config;
    }

    // Appends rows first, first + 1, … in a process of their own, and dies in the middle of it all.
    void append_and_die(int64_t first, int count) const {
        const pid_t child = ::fork();
        if (child == 0) {
            Spool spool(config());
            for (int i = 0; i < count; ++i) {
                spool.append(row_number(first + i));
            }
            ::kill(::getpid(), SIGKILL);
        }
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status));
    }

    std::vector<fs::path> files(const std::string& extension) const {
        std::vector<fs::path> found;
        for (const auto& entry : fs::directory_iterator(directory_)) {
            if (entry.path().extension() == extension) {
                found.push_back(entry.path());
            }
        }
        std::sort(found.begin(), found.end());
        return found;
    }

    uint64_t segment_bytes() const {
        uint64_t bytes = 0;
        for (const fs::path& file : files(".jsonl")) {
            bytes += fs::file_size(file);
        }
        return bytes;
    }

    void add_bytes(const fs::path& file, const std::string& bytes) const {
        std::ofstream(file, std::ios::app | std::ios::binary) << bytes;
    }

    std::string directory_;
};

// Reads and commits until there is nothing left; the numbers of the rows in their order.
std::vector<int64_t> drain(SpoolReader& reader, size_t max_lines = 7, size_t max_bytes = 5000) {
    std::vector<int64_t> numbers;
    std::vector<std::string_view> lines;
    do {
        while (reader.read(max_lines, max_bytes, lines)) {
            for (const auto line : lines) {
                numbers.push_back(number_of(line));
            }
            lines.clear();
        }
    } while (reader.commit());
    return numbers;
}

std::vector<int64_t> sequence(int64_t first, int64_t count) {
    std::vector<int64_t> numbers;
    for (int64_t i = 0; i < count; ++i) {
        numbers.push_back(first + i);
    }
    return numbers;
}

TEST_F(SpoolTest, OpensAtTheFirstRowAndKeepsTheRowsWithoutAReader) {
    {
        Spool spool(config());
        EXPECT_TRUE(files(".jsonl").empty());
        ASSERT_TRUE(spool.append(row_number(1)));
        ASSERT_TRUE(spool.append(row_number(2)));
        EXPECT_EQ(spool.counters().rows_appended, 2u);
    }
    ASSERT_EQ(files(".jsonl").size(), 1u);
    std::ifstream file(files(".jsonl")[0]);
    std::string line;
    for (int64_t i = 1; i <= 2; ++i) {
        ASSERT_TRUE(std::getline(file, line));
        EXPECT_TRUE(spend::verify_json_line(line));
        EXPECT_EQ(number_of(line), i);
    }
    EXPECT_FALSE(std::getline(file, line));
    EXPECT_EQ(fs::status(files(".jsonl")[0]).permissions(),
              fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(SpoolTest, OwnRowsAreReadInOrderOnceAndTheFileGoesAtTheEnd) {
    Spool spool(config());
    {
        SpoolReader reader(spool);
        EXPECT_FALSE(reader.commit());
        for (int64_t i = 0; i < 100; ++i) {
            ASSERT_TRUE(spool.append(row_number(i)));
        }
        EXPECT_GT(reader.backlog_bytes(), 0u);
        EXPECT_EQ(drain(reader), sequence(0, 100));
        EXPECT_EQ(reader.backlog_bytes(), 0u);
        EXPECT_EQ(files(".pos").size(), 1u);
        ASSERT_TRUE(spool.append(row_number(100)));
        EXPECT_EQ(drain(reader), sequence(100, 1));
        reader.give_back();
    }
    EXPECT_TRUE(fs::is_empty(directory_));
}

TEST_F(SpoolTest, WhatWasNotCommittedIsReadAgain) {
    Spool spool(config());
    SpoolReader reader(spool);
    for (int64_t i = 0; i < 10; ++i) {
        ASSERT_TRUE(spool.append(row_number(i)));
    }
    std::vector<std::string_view> lines;
    ASSERT_TRUE(reader.read(4, 1 << 16, lines));
    EXPECT_EQ(lines.size(), 4u);
    reader.commit();
    lines.clear();
    ASSERT_TRUE(reader.read(4, 1 << 16, lines));
    reader.rewind();
    EXPECT_EQ(drain(reader), sequence(4, 6));
}

TEST_F(SpoolTest, RotatesAndDeletesSegmentByASegment) {
    auto small = config();
    small.segment_bytes = 3000;
    Spool spool(small);
    SpoolReader reader(spool);
    for (int64_t i = 0; i < 50; ++i) {
        ASSERT_TRUE(spool.append(row_number(i)));
    }
    const size_t segments = files(".jsonl").size();
    EXPECT_GT(segments, 5u);
    for (const auto& file : files(".jsonl")) {
        EXPECT_LT(fs::file_size(file), 3000u + 2000u);
    }
    EXPECT_EQ(drain(reader), sequence(0, 50));
    EXPECT_EQ(files(".jsonl").size(), 1u);  // the active one
}

TEST_F(SpoolTest, RowsOfADeadOwnerAreAdopted) {
    append_and_die(0, 20);
    append_and_die(20, 20);
    Spool spool(config());
    SpoolReader reader(spool);
    ASSERT_TRUE(spool.append(row_number(40)));
    reader.adopt_orphans();
    EXPECT_TRUE(reader.catching_up());
    EXPECT_EQ(drain(reader), sequence(0, 41));
    EXPECT_FALSE(reader.catching_up());
    EXPECT_EQ(files(".jsonl").size(), 1u);
}

TEST_F(SpoolTest, ASuccessorGoesOnWhereTheDeadCommitted) {
    const pid_t child = ::fork();
    if (child == 0) {
        Spool spool(config());
        SpoolReader reader(spool);
        for (int64_t i = 0; i < 10; ++i) {
            spool.append(row_number(i));
        }
        std::vector<std::string_view> lines;
        reader.read(6, 1 << 16, lines);
        reader.commit();
        reader.read(2, 1 << 16, lines);  // in flight when it dies
        ::kill(::getpid(), SIGKILL);
    }
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    Spool spool(config());
    SpoolReader reader(spool);
    reader.adopt_orphans();
    EXPECT_EQ(drain(reader), sequence(6, 4));
    EXPECT_TRUE(fs::is_empty(directory_));
}

TEST_F(SpoolTest, ABadPositionMeansTheStart) {
    for (const std::string bad : {"", "5", "x\n", "-1\n", "99999999\n", "12 \n"}) {
        append_and_die(0, 3);
        add_bytes(files(".jsonl")[0].string() + ".pos", bad);
        Spool spool(config());
        SpoolReader reader(spool);
        reader.adopt_orphans();
        EXPECT_EQ(drain(reader), sequence(0, 3)) << bad;
        EXPECT_TRUE(fs::is_empty(directory_));
    }
}

TEST_F(SpoolTest, ALivingOwnersSegmentIsLeftAlone) {
    Spool owner(config());
    ASSERT_TRUE(owner.append(row_number(1)));
    const pid_t child = ::fork();
    if (child == 0) {
        Spool spool(config());
        SpoolReader reader(spool);
        reader.adopt_orphans();
        ::_exit(reader.catching_up() ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(SpoolTest, TornLinesAreSkippedAndCounted) {
    append_and_die(0, 2);
    const fs::path file = files(".jsonl")[0];
    add_bytes(file, "{\"request_id\":\"torn in the middle\n");
    add_bytes(file, std::string(300'000, 'x') + "\n");
    std::string whole;
    spend::append_json_line(whole, row_number(2));
    add_bytes(file, whole + "\n" + whole.substr(0, 40));
    Spool spool(config());
    SpoolReader reader(spool);
    reader.adopt_orphans();
    EXPECT_EQ(drain(reader), sequence(0, 3));
    EXPECT_EQ(reader.torn_lines(), 3u);
    EXPECT_TRUE(fs::is_empty(directory_));
}

TEST_F(SpoolTest, GarbageWithoutAnEndIsPassed) {
    std::string whole;
    spend::append_json_line(whole, row_number(1));
    const std::string name = directory_ + "/1700000000000-1-1.jsonl";
    add_bytes(name, std::string(3 << 20, '\0') + "\n" + whole + "\n");
    Spool spool(config());
    SpoolReader reader(spool);
    reader.adopt_orphans();
    EXPECT_EQ(drain(reader), sequence(1, 1));
    EXPECT_TRUE(fs::is_empty(directory_));
}

TEST_F(SpoolTest, OtherFilesAreNotTouchedAndStraySidecarsGo) {
    const std::string others[] = {"rejected.jsonl", "notes.pos", "1-2.jsonl", "1-2-x.jsonl",
                                  "1-2-3-4.jsonl"};
    for (const std::string& name : others) {
        add_bytes(directory_ + "/" + name, "keep\n");
    }
    add_bytes(directory_ + "/1700000000000-1-1.jsonl.pos", "5\n");
    add_bytes(directory_ + "/1700000000000-1-1.jsonl.pos.tmp", "5");
    Spool spool(config());
    SpoolReader reader(spool);
    reader.adopt_orphans();
    EXPECT_TRUE(drain(reader).empty());
    for (const std::string& name : others) {
        EXPECT_TRUE(fs::exists(directory_ + "/" + name)) << name;
    }
    EXPECT_EQ(std::distance(fs::directory_iterator(directory_), {}), std::ssize(others));
}

// The file-size limit makes the kernel write a part of a line, as a full disk does.
TEST_F(SpoolTest, AShortWriteLeavesNoTornLine) {
    struct rlimit before;
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = ::signal(SIGXFSZ, SIG_IGN);
    Spool spool(config());
    SpoolReader reader(spool);
    ASSERT_TRUE(spool.append(row_number(0)));
    const uint64_t line = fs::file_size(files(".jsonl")[0]);

    const struct rlimit limit = {line + line / 2, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    EXPECT_FALSE(spool.append(row_number(666)));
    EXPECT_FALSE(spool.append(row_number(667)));
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    ::signal(SIGXFSZ, handler);

    EXPECT_EQ(fs::file_size(files(".jsonl")[0]), line);
    EXPECT_NE(spool.take_error().find("cannot append"), std::string::npos);
    EXPECT_EQ(spool.counters().append_failures, 2u);
    ASSERT_TRUE(spool.append(row_number(1)));
    EXPECT_EQ(drain(reader), sequence(0, 2));
    EXPECT_EQ(reader.torn_lines(), 0u);
}

TEST_F(SpoolTest, AFullSpoolRefusesUntilRowsAreStored) {
    auto small = config();
    small.max_bytes = 32 << 10;
    Spool spool(small);
    SpoolReader reader(spool);
    int64_t recorded = 0;
    while (spool.append(row_number(recorded))) {
        ++recorded;
    }
    EXPECT_GT(recorded, 20);
    EXPECT_FALSE(spool.append(row_number(-1)));
    EXPECT_EQ(spool.counters().rows_refused, 2u);
    EXPECT_NE(spool.take_error().find("full"), std::string::npos);
    EXPECT_TRUE(spool.take_error().empty());
    EXPECT_LE(segment_bytes(), small.max_bytes);

    EXPECT_EQ(drain(reader), sequence(0, recorded));
    EXPECT_TRUE(spool.append(row_number(recorded)));
    EXPECT_EQ(drain(reader), sequence(recorded, 1));
}

// Admission stops before the spool is full, so that requests under way find room for their rows.
TEST_F(SpoolTest, AReserveIsKeptAndComesBackOnceRowsAreStored) {
    auto small = config();
    small.max_bytes = 64 << 10;
    Spool spool(small);
    SpoolReader reader(spool);
    int64_t recorded = 0;
    while (spool.has_reserve()) {
        ASSERT_TRUE(spool.append(row_number(recorded)));
        ++recorded;
    }
    EXPECT_TRUE(spool.append(row_number(recorded)));  // under way when admission stopped
    EXPECT_EQ(drain(reader), sequence(0, recorded + 1));
    reader.give_back();
    EXPECT_TRUE(spool.has_reserve());
    EXPECT_EQ(segment_bytes(), 0u);
}

// Several workers fill one directory at once: it ends full, and never more than that.
TEST_F(SpoolTest, TheBoundHoldsForAllWorkersTogether) {
    constexpr int kWorkers = 4;
    auto small = config();
    small.max_bytes = 4 << 20;
    int start[2];
    ASSERT_EQ(::pipe(start), 0);
    for (int w = 0; w < kWorkers; ++w) {
        if (::fork() == 0) {
            ::close(start[1]);
            char none;
            const bool started = ::read(start[0], &none, 1) == 0;
            Spool spool(small);
            for (int refused = 0; refused < 3;) {
                refused += spool.append(row_number(0)) ? 0 : 1;
            }
            ::_exit(started ? 0 : 1);
        }
    }
    ::close(start[0]);
    ::close(start[1]);
    for (int w = 0; w < kWorkers; ++w) {
        int status = 0;
        ASSERT_GT(::wait(&status), 0);
        EXPECT_EQ(status, 0);
    }
    EXPECT_LE(segment_bytes(), small.max_bytes);
    EXPECT_GT(segment_bytes(), small.max_bytes * 3 / 4);
}

TEST_F(SpoolTest, DropOldestKeepsTheNewestRowsWithinTheBound) {
    constexpr int64_t kRows = 1000;
    auto small = config();
    small.max_bytes = 64 << 10;
    small.when_full = spend::WhenFull::drop_oldest;
    Spool spool(small);
    for (int64_t i = 0; i < kRows; ++i) {
        ASSERT_TRUE(spool.has_reserve());
        ASSERT_TRUE(spool.append(row_number(i)));
        ASSERT_LE(segment_bytes(), small.max_bytes);
    }
    EXPECT_NE(spool.take_warning().find("dropped"), std::string::npos);
    EXPECT_TRUE(spool.take_error().empty());
    spool.close_active();
    SpoolReader reader(spool);
    reader.adopt_orphans();
    const std::vector<int64_t> kept = drain(reader);
    EXPECT_GT(kept.size(), 50u);
    EXPECT_EQ(kept, sequence(kRows - std::ssize(kept), std::ssize(kept)));
}

// A worker whose file another one dropped goes on in a new one: a row that it wrote is kept.
TEST_F(SpoolTest, NoRowGoesIntoADroppedFile) {
    auto dropping = config();
    dropping.when_full = spend::WhenFull::drop_oldest;
    Spool spool(dropping);
    ASSERT_TRUE(spool.append(row_number(0)));
    fs::remove(files(".jsonl")[0]);
    ASSERT_TRUE(spool.append(row_number(1)));
    spool.close_active();
    SpoolReader reader(spool);
    reader.adopt_orphans();
    EXPECT_EQ(drain(reader), sequence(1, 1));
}

TEST_F(SpoolTest, DroppedSegmentsAreLetGo) {
    auto dropping = config();
    dropping.when_full = spend::WhenFull::drop_oldest;
    Spool spool(dropping);
    SpoolReader reader(spool);
    ASSERT_TRUE(spool.append(row_number(0)));
    spool.close_active();
    ASSERT_GT(reader.backlog_bytes(), 0u);
    fs::remove(files(".jsonl")[0]);
    reader.forget_dropped();
    EXPECT_EQ(reader.backlog_bytes(), 0u);
}

TEST_F(SpoolTest, WarnsLongBeforeItIsFull) {
    auto small = config();
    small.max_bytes = 256 << 10;
    Spool spool(small);
    std::vector<std::string> warnings;
    while (spool.append(row_number(0))) {
        if (std::string warning = spool.take_warning(); !warning.empty()) {
            warnings.push_back(std::move(warning));
        }
    }
    ASSERT_GE(warnings.size(), 2u);
    EXPECT_LE(warnings.size(), 3u);
    EXPECT_NE(warnings[0].find(" is at 5"), std::string::npos) << warnings[0];
    EXPECT_NE(warnings[1].find(" is at 7"), std::string::npos) << warnings[1];
}

TEST_F(SpoolTest, WhatIsNotCommittedIsNotGivenBack) {
    Spool spool(config());
    SpoolReader reader(spool);
    ASSERT_TRUE(spool.append(row_number(0)));
    reader.give_back();
    std::vector<std::string_view> lines;
    ASSERT_TRUE(reader.read(1, 1 << 16, lines));
    spool.close_active();
    reader.give_back();
    reader.rewind();
    EXPECT_EQ(drain(reader), sequence(0, 1));
}

TEST_F(SpoolTest, AMissingDirectoryIsAnErrorNotACrash) {
    auto missing = config();
    missing.directory += "/nowhere";
    Spool spool(missing);
    SpoolReader reader(spool);
    EXPECT_FALSE(spool.append(row_number(1)));
    EXPECT_NE(spool.take_error().find("nowhere"), std::string::npos);
    reader.adopt_orphans();
    EXPECT_TRUE(drain(reader).empty());
    fs::create_directory(missing.directory);
    EXPECT_TRUE(spool.append(row_number(1)));
}

TEST_F(SpoolTest, RowsAppendedToADeletedFileAreStillRead) {
    Spool spool(config());
    SpoolReader reader(spool);
    ASSERT_TRUE(spool.append(row_number(0)));
    fs::remove(files(".jsonl")[0]);
    ASSERT_TRUE(spool.has_reserve());  // admission notices
    ASSERT_TRUE(spool.append(row_number(1)));
    EXPECT_EQ(files(".jsonl").size(), 1u);
    EXPECT_EQ(drain(reader), sequence(0, 2));
}

TEST_F(SpoolTest, RowsAreUnsyncedUntilTheyAreSentToDisk) {
    auto synced = config();
    synced.syncs = true;
    Spool spool(synced);
    EXPECT_FALSE(spool.unsynced());
    ASSERT_TRUE(spool.append(row_number(0)));
    EXPECT_TRUE(spool.unsynced());
    while (spool.unsynced()) {  // the directory goes first
        spool.sync();
    }
    ASSERT_TRUE(spool.append(row_number(1)));
    EXPECT_TRUE(spool.unsynced());
    spool.close_active();
    EXPECT_FALSE(spool.unsynced());
    spool.sync();
    EXPECT_TRUE(spool.take_error().empty());
}

TEST_F(SpoolTest, SyncedRowsAreCounted) {
    spend::SpoolConfig synced = config();
    synced.syncs = true;
    Spool spool(synced);
    spool.append(row_number(1));
    spool.append(row_number(2));
    wait_for_disk(spool);  // it has taken the new file's name
    EXPECT_TRUE(spool.sync());
    EXPECT_EQ(spool.rows_synced(), 0u);
    wait_for_disk(spool);
    spool.append(row_number(3));
    EXPECT_TRUE(spool.sync());
    EXPECT_EQ(spool.rows_synced(), 2u);
    EXPECT_FALSE(spool.unsynced());
}

TEST_F(SpoolTest, RowsThatCannotBeSentToDiskHoldNobodyUp) {
    spend::SpoolConfig synced = config();
    synced.syncs = true;
    Spool spool(synced);
    spool.append(row_number(1));
    wait_for_disk(spool);
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    const rlimit none{0, before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
    EXPECT_FALSE(spool.sync());
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_NE(spool.take_error(), "");
    EXPECT_TRUE(spool.unsynced());
    EXPECT_TRUE(spool.sync());
    EXPECT_FALSE(spool.unsynced());
}

TEST_F(SpoolTest, NothingIsUnsyncedWithoutSync) {
    Spool spool(config());
    ASSERT_TRUE(spool.append(row_number(0)));
    EXPECT_FALSE(spool.unsynced());
    spool.sync();
}

// Writers that are killed and replaced, and adopters that compete: every row arrives, and none of
// an orphan arrives at two adopters.
TEST_F(SpoolTest, CompetingAdoptersShareTheOrphans) {
    constexpr int kOrphans = 12;
    constexpr int kRows = 200;
    for (int i = 0; i < kOrphans; ++i) {
        append_and_die(i * kRows, kRows);
    }
    constexpr int kAdopters = 3;
    int pipes[2];
    ASSERT_EQ(::pipe(pipes), 0);
    for (int a = 0; a < kAdopters; ++a) {
        if (::fork() == 0) {
            Spool spool(config());
            SpoolReader reader(spool);
            for (int round = 0; round < 50; ++round) {
                reader.adopt_orphans();
                for (const int64_t number : drain(reader)) {
                    if (::write(pipes[1], &number, sizeof(number)) != sizeof(number)) {
                        ::_exit(1);
                    }
                }
            }
            reader.give_back();
            ::_exit(0);
        }
    }
    ::close(pipes[1]);
    std::map<int64_t, int> seen;
    for (int64_t number = 0; ::read(pipes[0], &number, sizeof(number)) == sizeof(number);) {
        ++seen[number];
    }
    ::close(pipes[0]);
    for (int a = 0; a < kAdopters; ++a) {
        int status = 0;
        ASSERT_GT(::wait(&status), 0);
        EXPECT_EQ(status, 0);
    }
    EXPECT_EQ(seen.size(), static_cast<size_t>(kOrphans * kRows));
    for (const auto& [number, times] : seen) {
        EXPECT_EQ(times, 1) << number;
    }
    EXPECT_TRUE(fs::is_empty(directory_));
}

}  // namespace
