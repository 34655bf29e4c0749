#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

// A fixed table of entries with a `name`, sorted by its length: a lookup compares only names that
// are as long as the one that is sought.
template <class Entry, size_t kSize>
class NameTable {
  public:
    // Does not compile (`at` throws) if a name is longer than kMaxName or the order is not kept.
    consteval explicit NameTable(const std::array<Entry, kSize>& entries) : entries_(entries) {
        size_t length = 0;
        for (size_t i = 0; i < kSize; ++i) {
            if (entries[i].name.size() < length) {
                throw "not sorted by length";
            }
            while (length < entries[i].name.size()) {
                first_.at(++length) = static_cast<uint8_t>(i);
            }
        }
        while (length < kMaxName + 1) {
            first_.at(++length) = kSize;
        }
    }

    static constexpr size_t kMaxName = 30;

    constexpr const Entry* find(std::string_view name) const noexcept {
        if (name.size() > kMaxName) {
            return nullptr;
        }
        for (size_t i = first_[name.size()]; i < first_[name.size() + 1]; ++i) {
            if (entries_[i].name == name) {
                return &entries_[i];
            }
        }
        return nullptr;
    }

    constexpr size_t index_of(const Entry& entry) const noexcept {
        return static_cast<size_t>(&entry - entries_.data());
    }

  private:
    static_assert(kSize < 256);

    std::array<Entry, kSize> entries_;
    std::array<uint8_t, kMaxName + 2> first_{};  // the first entry by length of its name
};

}  // namespace llm
