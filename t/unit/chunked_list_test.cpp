#include "llm/chunked_list.hpp"

#include <gtest/gtest.h>

namespace llm {
namespace {

TEST(ChunkedList, HoldsWhatIsPushed) {
    ChunkedList<size_t> list;
    EXPECT_TRUE(list.empty());
    for (size_t i = 0; i < 1000; ++i) {
        list.push_back(i);
        EXPECT_EQ(list.size(), i + 1);
        EXPECT_EQ(list.back(), i);
    }
    size_t expected = 0;
    for (const size_t value : list) {
        EXPECT_EQ(value, expected++);
    }
    EXPECT_EQ(expected, 1000U);
}

TEST(ChunkedList, NeverMovesWhatItHolds) {
    ChunkedList<int> list;
    list.push_back(7);
    const int* const first = &list[0];
    for (int i = 0; i < 10'000; ++i) {
        list.push_back(i);
    }
    EXPECT_EQ(&list[0], first);
    EXPECT_EQ(*first, 7);
}

TEST(ChunkedList, IsEmptyAfterAMove) {
    ChunkedList<int> list;
    list.push_back(1);
    ChunkedList<int> other(std::move(list));
    EXPECT_EQ(other.size(), 1U);
    EXPECT_TRUE(list.empty());
    list.push_back(2);
    EXPECT_EQ(list[0], 2);
    other = std::move(list);
    EXPECT_EQ(other[0], 2);
    EXPECT_TRUE(list.empty());
}

}  // namespace
}  // namespace llm
