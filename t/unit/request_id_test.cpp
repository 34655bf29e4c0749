#include "llm/request_id.hpp"

#include <gtest/gtest.h>

namespace llm {
namespace {

TEST(RequestId, IsTheExampleOfRfc9562) {
    // Appendix A.6: unix_ts_ms 0x017F22E279B0, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F.
    const auto id = make_request_id(0x017F22E279B0,
                                    {0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f});
    EXPECT_EQ(to_string(id), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

TEST(RequestId, HasVersionAndVariantWhateverTheRandomBits) {
    for (const uint8_t byte : {0x00, 0x5a, 0xff}) {
        std::array<uint8_t, 10> random;
        random.fill(byte);
        const RequestId id = make_request_id(1'700'000'000'000, random);
        EXPECT_EQ(id.bytes[6] >> 4, 7);
        EXPECT_EQ(id.bytes[8] >> 6, 2);
        EXPECT_EQ(id.bytes[6] & 0x0f, byte & 0x0f);
        EXPECT_EQ(id.bytes[8] & 0x3f, byte & 0x3f);
        EXPECT_EQ(id.bytes[15], byte);
    }
}

TEST(RequestId, SortsByTime) {
    std::array<uint8_t, 10> high;
    high.fill(0xff);
    const auto text = [](int64_t ms, const std::array<uint8_t, 10>& random) {
        return to_string(make_request_id(ms, random));
    };
    for (const int64_t ms :
         {int64_t{0}, int64_t{255}, int64_t{65535}, int64_t{1'700'000'000'000}}) {
        EXPECT_LT(text(ms, high), text(ms + 1, {}));
    }
    EXPECT_EQ(text(0, {}), "00000000-0000-7000-8000-000000000000");
}

}  // namespace
}  // namespace llm
