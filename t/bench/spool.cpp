// The spool alone: bench-spool DIRECTORY ROWS
//
// Appends rows (whole thousands) as the log phase does, prints what one takes and how much the process
// grew from the first tenth of them to the last, and leaves the segments there.

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <random>

#include "spend/spool.hpp"

namespace {

long resident_kib() {
    std::ifstream statm("/proc/self/statm");
    long size = 0;
    long resident = 0;
    statm >> size >> resident;
    return resident * (::sysconf(_SC_PAGESIZE) / 1024);
}

int64_t unix_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

// Of this thread: other work on the machine does not count.
double cpu_us() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

std::array<uint8_t, 10> random_bytes(std::mt19937_64& random) {
    const uint64_t bits[] = {random(), random()};
    std::array<uint8_t, 10> bytes;
    std::memcpy(bytes.data(), bits, bytes.size());
    return bytes;
}

// Twenty keys in five teams.
std::vector<llm::Identity> make_callers() {
    std::vector<llm::Identity> callers(20);
    for (size_t i = 0; i < callers.size(); ++i) {
        const std::string number = std::to_string(i);
        callers[i].key_hash = std::string(64 - number.size(), 'a') + number;
        callers[i].key_alias = "alias-" + number;
        callers[i].user = "user-" + number;
        callers[i].team = "team-" + std::to_string(i % 5);
        callers[i].org = "org-1";
    }
    return callers;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: bench-spool DIRECTORY ROWS\n");
        return 2;
    }
    const long rows = std::atol(argv[2]) / 1000 * 1000;
    const std::vector<llm::Identity> callers = make_callers();
    const std::vector<std::string> tags = {"prod", "batch"};
    std::mt19937_64 random(1);
    spend::SpoolConfig config;
    config.directory = argv[1];
    config.syncs = true;
    spend::Spool spool(config);

    spend::Row row;
    row.ttft_ms = 120;
    row.tags = &tags;
    row.customer = "customer-7";
    row.endpoint = "chat/completions";
    row.requested_model = "fast";
    row.model = "gpt-4o-mini";
    row.deployment = "openai/gpt-4o-mini-2024-07-18";
    row.provider = row.dialect = "openai";
    row.status = 200;
    row.attempts = 1;
    row.usage.prompt_tokens = 1200;
    row.usage.completion_tokens = 300;
    row.source = llm::UsageSource::reported;
    row.cost = {180'000, 0, 180'000};
    row.held = 1'000'000;
    row.price_version = "abcdef012345";
    row.stream = true;

    double spent_us = 0;
    long resident_before = 0;
    for (long i = 0; i < rows; ++i) {
        if (i == rows / 10) {
            resident_before = resident_kib();
        }
        if (i % 1000 == 0) {
            row.started_ms = unix_ms();
            row.ended_ms = row.started_ms + 900;
        }
        if (i % 20'000 == 0) {
            spool.sync();
        }
        row.request_id = llm::make_request_id(row.started_ms, random_bytes(random));
        row.identity = &callers[static_cast<size_t>(i) % callers.size()];
        spent_us -= i % 1000 == 0 ? cpu_us() : 0;
        if (!spool.append(row)) {
            std::fprintf(stderr, "%s\n", spool.take_error().c_str());
            return 1;
        }
        spent_us += i % 1000 == 999 ? cpu_us() : 0;
    }
    std::printf("log phase: %.2f us of CPU per row, memory growth %ld KiB over %ld rows\n",
                spent_us / static_cast<double>(rows), resident_kib() - resident_before, rows);
    return 0;
}
