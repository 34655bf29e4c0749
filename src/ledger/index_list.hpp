#pragma once

// A doubly linked list of records in one array, by index: it may lie in memory that is mapped
// anywhere. A record carries its Links and is in one list at most.

#include <cstdint>
#include <utility>

namespace ledger {

inline constexpr uint32_t kNil = UINT32_MAX;  // no record

struct Links {
    uint32_t before, behind;
};

struct Ends {
    uint32_t first = kNil;
    uint32_t last = kNil;
};

template <class Record>
void push_back(Ends& ends, Record* records, uint32_t index) noexcept {
    Links& links = records[index].links;
    links.behind = kNil;
    links.before = std::exchange(ends.last, index);
    (links.before == kNil ? ends.first : records[links.before].links.behind) = index;
}

template <class Record>
void push_front(Ends& ends, Record* records, uint32_t index) noexcept {
    Links& links = records[index].links;
    links.before = kNil;
    links.behind = std::exchange(ends.first, index);
    (links.behind == kNil ? ends.last : records[links.behind].links.before) = index;
}

template <class Record>
void unlink(Ends& ends, Record* records, uint32_t index) noexcept {
    const Links links = records[index].links;
    (links.before == kNil ? ends.first : records[links.before].links.behind) = links.behind;
    (links.behind == kNil ? ends.last : records[links.behind].links.before) = links.before;
}

}  // namespace ledger
