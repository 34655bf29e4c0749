#pragma once

#include <string>
#include <utility>
#include <variant>

namespace llm {

// A value, or a sentence that says why there is none (for an operator; no secret in it).
template <class T>
class Result {
  public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}

    static Result failure(std::string why) { return Result(std::in_place_index<1>, std::move(why)); }

    explicit operator bool() const noexcept { return state_.index() == 0; }
    T& operator*() noexcept { return *std::get_if<0>(&state_); }
    const T& operator*() const noexcept { return *std::get_if<0>(&state_); }
    T* operator->() noexcept { return std::get_if<0>(&state_); }
    const T* operator->() const noexcept { return std::get_if<0>(&state_); }
    const std::string& error() const noexcept { return *std::get_if<1>(&state_); }

  private:
    template <size_t I, class V>
    Result(std::in_place_index_t<I> index, V&& v) : state_(index, std::forward<V>(v)) {}

    std::variant<T, std::string> state_;
};

}  // namespace llm
