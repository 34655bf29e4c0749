// bench-cost PRICES: how long the price map takes to load, and one cost or bound of a known model.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "llm/prices.hpp"

namespace {

double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

constexpr int kRounds = 15;

// Median seconds of a step.
template <class Step>
double seconds_of(Step step) {
    std::vector<double> each;
    for (int i = 0; i < kRounds; ++i) {
        const double begin = cpu_seconds();
        step();
        each.push_back(cpu_seconds() - begin);
    }
    return median(each);
}

// A call with a bit of everything, as a long agent's turn has it.
llm::Usage usage_of(int64_t i) {
    llm::Usage usage;
    usage.prompt_tokens = 150'000 + i % 200'000;
    usage.completion_tokens = 2'000 + i % 97;
    usage.cached_tokens = 120'000;
    usage.cache_write_tokens = 9'000;
    usage.cache_write_long_tokens = 3'000;
    usage.reasoning_tokens = 1'000;
    usage.audio_prompt_tokens = 10;
    usage.image_prompt_tokens = 1'000;
    usage.searches = 2;
    usage.terms.tier = i % 2 == 0 ? llm::ServiceTier::standard : llm::ServiceTier::priority;
    return usage;
}

void measure(const llm::PriceTable& table, const char* model) {
    constexpr int64_t kCalls = 200'000;
    const llm::ModelPrice* price = table.find(model);
    if (price == nullptr) {
        std::cerr << "no price for " << model << '\n';
        std::exit(EXIT_FAILURE);
    }
    int64_t sum = 0;
    const double cost = seconds_of([&] {
        for (int64_t i = 0; i < kCalls; ++i) {
            sum += price->cost(usage_of(i)).total();
        }
    });
    const double bound = seconds_of([&] {
        for (int64_t i = 0; i < kCalls; ++i) {
            sum += price->upper_bound(150'000 + i % 200'000, 4'096);
        }
    });
    const double find = seconds_of([&] {
        for (int64_t i = 0; i < kCalls; ++i) {
            sum += table.find(model)->max_output_tokens;
        }
    });
    std::printf("%-28s cost %4.0f ns, upper bound %4.0f ns, look-up %4.0f ns (%zu rate cards)%s\n",
                model, cost / kCalls * 1e9, bound / kCalls * 1e9, find / kCalls * 1e9,
                price->cards().size(), sum == 0 ? "?" : "");
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: bench-cost PRICES\n";
        return EXIT_FAILURE;
    }
    std::ifstream file(argv[1], std::ios::binary);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const auto table = llm::PriceTable::parse(text);
    if (!table) {
        std::cerr << argv[1] << ": " << table.error() << '\n';
        return EXIT_FAILURE;
    }
    const double load = seconds_of([&text] { llm::PriceTable::parse(text); });
    std::printf("%zu models in %.1f MB load in %.1f ms (goal: 50)\n", table->size(),
                static_cast<double>(text.size()) / 1e6, load * 1e3);
    std::puts("one cost (goal: 200 ns):");
    for (const char* model :
         {"gpt-4o-mini", "claude-sonnet-4-5", "gpt-6-astra", "gemini-2.5-pro"}) {
        measure(*table, model);
    }
    return EXIT_SUCCESS;
}
