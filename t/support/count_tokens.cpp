// count-tokens IMAGE ENCODING [CUT]: for each text on standard input (its size as 32 bits, little
// endian, then its bytes) writes a line "TOKENS EXACT", 1 or 0. CUT > 0: fed in parts of 1 … CUT
// bytes.

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>

#include "llm/tokenizer/counter.hpp"

using namespace llm::tokenizer;

int main(int argc, char** argv) {
    if (argc < 3) {
        std::cerr << "usage: count-tokens IMAGE ENCODING [CUT]\n";
        return EXIT_FAILURE;
    }
    const auto vocabulary = Vocabulary::open(argv[1], argv[2]);
    if (!vocabulary) {
        std::cerr << vocabulary.error() << '\n';
        return EXIT_FAILURE;
    }
    const size_t cut = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 0;
    Encoding encoding(*vocabulary, pattern_of(argv[2]), 1);
    std::minstd_rand random(1);
    uint32_t size = 0;
    for (std::string text; std::fread(&size, sizeof(size), 1, stdin) == 1;) {
        text.resize(size);
        if (size != 0 && std::fread(text.data(), size, 1, stdin) != 1) {
            return EXIT_FAILURE;
        }
        Counter counter(encoding);
        for (size_t at = 0; at < size;) {
            const size_t part = cut == 0 ? size : 1 + random() % cut;
            counter.feed(std::string_view(text).substr(at, part));
            at += part;
        }
        counter.finish();
        std::printf("%lld %d\n", static_cast<long long>(counter.tokens()), counter.is_exact());
    }
    return EXIT_SUCCESS;
}
