#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace io {

// One Redis command in its wire form. Binary-safe. Exactly `arguments` calls of add() make it
// complete.
class RedisCommand {
  public:
    explicit RedisCommand(size_t arguments) {
        wire_.reserve(kUsualSize);
        append_number('*', static_cast<int64_t>(arguments));
    }

    RedisCommand& add(std::string_view argument) {
        append_number('$', static_cast<int64_t>(argument.size()));
        wire_.append(argument).append("\r\n");
        return *this;
    }
    RedisCommand& add(int64_t number) {
        std::array<char, kMostDigits> digits;
        return add(to_text(number, digits));
    }

    const std::string& wire() const noexcept { return wire_; }

  private:
    static constexpr size_t kUsualSize = 1024;  // a script call with some keys
    static constexpr size_t kMostDigits = 20;

    static std::string_view to_text(int64_t number,
                                    std::array<char, kMostDigits>& digits) noexcept {
        const auto end = std::to_chars(digits.begin(), digits.end(), number).ptr;
        return {digits.data(), static_cast<size_t>(end - digits.data())};
    }
    void append_number(char type, int64_t number) {
        std::array<char, kMostDigits> digits;
        wire_.append(1, type).append(to_text(number, digits)).append("\r\n");
    }

    std::string wire_;
};

}  // namespace io
