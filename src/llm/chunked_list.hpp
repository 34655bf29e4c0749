#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace llm {

// A list that never moves what it holds: however long it is, push_back() takes no longer.
template <class T>
class ChunkedList {
  public:
    ChunkedList() = default;
    ChunkedList(ChunkedList&& other) noexcept
        : chunks_(std::move(other.chunks_)), size_(std::exchange(other.size_, 0)) {}
    ChunkedList& operator=(ChunkedList&& other) noexcept {
        chunks_ = std::move(other.chunks_);
        size_ = std::exchange(other.size_, 0);
        return *this;
    }

    void push_back(const T& value) {
        if (size_ == chunks_.size() * kChunk) {
            chunks_.push_back(std::make_unique<Chunk>());
        }
        ++size_;
        back() = value;
    }

    size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    T& operator[](size_t i) noexcept { return (*chunks_[i / kChunk])[i % kChunk]; }
    const T& operator[](size_t i) const noexcept { return (*chunks_[i / kChunk])[i % kChunk]; }
    T& back() noexcept { return (*this)[size_ - 1]; }

    class Iterator {
      public:
        Iterator(const ChunkedList& list, size_t at) noexcept : list_(&list), at_(at) {}
        const T& operator*() const noexcept { return (*list_)[at_]; }
        Iterator& operator++() noexcept {
            ++at_;
            return *this;
        }
        bool operator==(const Iterator&) const noexcept = default;

      private:
        const ChunkedList* list_;
        size_t at_;
    };

    Iterator begin() const noexcept { return {*this, 0}; }
    Iterator end() const noexcept { return {*this, size_}; }

  private:
    static constexpr size_t kChunk = 64;
    using Chunk = std::array<T, kChunk>;

    std::vector<std::unique_ptr<Chunk>> chunks_;
    size_t size_ = 0;
};

}  // namespace llm
