#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace io {

// One Redis command in its wire form. Binary-safe. Exactly `arguments` calls of add() make it
// complete.
class RedisCommand {
  public:
    explicit RedisCommand(size_t arguments) { append_number('*', static_cast<int64_t>(arguments)); }

    RedisCommand& add(std::string_view argument) {
        append_number('$', static_cast<int64_t>(argument.size()));
        wire_.append(argument).append("\r\n");
        return *this;
    }
    RedisCommand& add(int64_t number) { return add(std::string_view(std::to_string(number))); }

    const std::string& wire() const noexcept { return wire_; }

  private:
    void append_number(char type, int64_t number) {
        wire_.append(1, type).append(std::to_string(number)).append("\r\n");
    }

    std::string wire_;
};

}  // namespace io
