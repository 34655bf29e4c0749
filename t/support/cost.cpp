// cost PRICES: for each cost query on standard input, a line of JSON, writes a line with the
// nano-USD of its total and its parts: "total input cached output reasoning tools"; "-" if the
// model has no price.

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "llm/cost_query.hpp"
#include "llm/prices.hpp"

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: cost PRICES\n";
        return EXIT_FAILURE;
    }
    std::ifstream file(argv[1], std::ios::binary);
    const auto table =
        llm::PriceTable::parse(std::string(std::istreambuf_iterator<char>(file), {}));
    if (!table) {
        std::cerr << argv[1] << ": " << table.error() << '\n';
        return EXIT_FAILURE;
    }
    for (std::string line; std::getline(std::cin, line);) {
        const auto query = llm::read_cost_query(line);
        if (!query) {
            std::cerr << query.error() << ": " << line << '\n';
            return EXIT_FAILURE;
        }
        const llm::ModelPrice* price = table->find(query->model);
        if (price == nullptr) {
            std::puts("-");
            continue;
        }
        const llm::Cost cost = price->cost(query->usage);
        std::printf("%lld %lld %lld %lld %lld %lld\n", static_cast<long long>(cost.total()),
                    static_cast<long long>(cost.input), static_cast<long long>(cost.cached),
                    static_cast<long long>(cost.output), static_cast<long long>(cost.reasoning),
                    static_cast<long long>(cost.tools));
    }
    return EXIT_SUCCESS;
}
