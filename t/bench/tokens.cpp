// bench-tokens IMAGE ENCODING FILE…: for each corpus a line "FILE TOKENS FIRST UNSEEN REPEATED",
// the speeds in MB/s of CPU time: of a first pass, of the last fifth after the rest, of a second
// pass. Then, for the prose among them, the microseconds of short texts: "latency 200 US", "latency
// 1024 US".

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "llm/tokenizer/counter.hpp"

using namespace llm::tokenizer;

namespace {

double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct Timed {
    int64_t tokens;
    double seconds;
};

Timed count(Encoding& encoding, std::string_view text) {
    Counter counter(encoding);
    const double begin = cpu_seconds();
    counter.feed(text);
    counter.finish();
    return {counter.tokens(), cpu_seconds() - begin};
}

double speed(std::string_view text, double seconds) {
    return static_cast<double>(text.size()) / 1e6 / seconds;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

constexpr int kRounds = 5;

void measure(const Vocabulary& vocabulary, Pattern pattern, const std::string& file,
             std::string_view text) {
    size_t cut = text.size() / 5 * 4;
    while ((text[cut] & 0xC0) == 0x80) {
        ++cut;
    }
    std::vector<double> first;
    std::vector<double> unseen;
    std::vector<double> repeated;
    int64_t tokens = 0;
    for (int round = 0; round < kRounds; ++round) {
        Encoding fresh(vocabulary, pattern, 1);
        const Timed whole = count(fresh, text);
        tokens = whole.tokens;
        first.push_back(speed(text, whole.seconds));
        repeated.push_back(speed(text, count(fresh, text).seconds));
        Encoding primed(vocabulary, pattern, 2);
        count(primed, text.substr(0, cut));
        unseen.push_back(speed(text.substr(cut), count(primed, text.substr(cut)).seconds));
    }
    std::printf("%s %lld %.1f %.1f %.1f\n", file.c_str(), static_cast<long long>(tokens),
                median(first), median(unseen), median(repeated));
}

// The best of many, warm: the time of one text, not of the machine's other work.
void measure_latency(const Vocabulary& vocabulary, Pattern pattern, std::string_view text) {
    Encoding encoding(vocabulary, pattern, 1);
    for (const size_t bytes : {size_t{200}, size_t{1024}}) {
        std::vector<double> each;
        for (size_t at = 0; at + bytes < 400'000; at += bytes) {
            double best = 1;
            for (int i = 0; i < 5; ++i) {
                best = std::min(best, count(encoding, text.substr(at, bytes)).seconds);
            }
            each.push_back(best);
        }
        std::printf("latency %zu %.2f\n", bytes, median(each) * 1e6);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::cerr << "usage: bench-tokens IMAGE ENCODING FILE...\n";
        return EXIT_FAILURE;
    }
    const auto vocabulary = Vocabulary::open(argv[1], argv[2]);
    if (!vocabulary) {
        std::cerr << vocabulary.error() << '\n';
        return EXIT_FAILURE;
    }
    const Pattern pattern = pattern_of(argv[2]);
    for (int i = 3; i < argc; ++i) {
        std::ifstream in(argv[i], std::ios::binary);
        const std::string text{std::istreambuf_iterator<char>(in), {}};
        if (text.empty()) {
            std::cerr << "cannot read " << argv[i] << '\n';
            return EXIT_FAILURE;
        }
        measure(*vocabulary, pattern, argv[i], text);
        if (i == 3) {
            measure_latency(*vocabulary, pattern, text);
        }
    }
    return EXIT_SUCCESS;
}
