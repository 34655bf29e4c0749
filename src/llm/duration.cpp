#include "llm/duration.hpp"

namespace llm {

std::string format_duration(int64_t ms) {
    if (ms < 1000) {
        return std::to_string(ms < 0 ? 0 : ms) + "ms";
    }
    const int64_t seconds = (ms + 999) / 1000;
    std::string out;
    if (seconds >= 3600) {
        out += std::to_string(seconds / 3600) + "h";
    }
    if (seconds >= 60) {
        out += std::to_string(seconds % 3600 / 60) + "m";
    }
    return out + std::to_string(seconds % 60) + "s";
}

}  // namespace llm
