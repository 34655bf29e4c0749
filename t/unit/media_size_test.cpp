#include "llm/media_size.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace llm {
namespace {

// Headers of files that Pillow wrote, all of 37 × 21 pixels.
const std::string kPng =
    "iVBORw0KGgoAAAANSUhEUgAAACUAAAAVCAIAAABOhrD5AAAAJklEQVR4nGM8ISfHQEfARE/LRu0btW/UvlH7";
const std::string kGif = "R0lGODdhJQAVAIEAAMgeHgAAAAAAAAAAACwAAAAAJQAVAEAILwABCBxIsKDBgwgTKlzIsKHD";
const std::string kWebp =
    "UklGRkIAAABXRUJQVlA4IDYAAAAwAwCdASolABUAP83m7XA/uDIrJWgD8DmJZwDIIBJjuugAAP7Qym79";
const std::string kWebpLossless = "UklGRh4AAABXRUJQVlA4TBEAAAAvJAAFAAdQjyLXo/+BiOh/AAA=";
const std::string kWebpExtended =
    "UklGRqoAAABXRUJQVlA4WAoAAAAIAAAAJAAAFAAAVlA4IEAAAABQAwCdASolABUAPm02l0ikIyIhJWgAgA2JZwDQ";
const std::string kJpegProgressive =
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAP//////////////////////////////////////////////////////////"
    "////////////////////////////2wBDAf///////////////////////////////////////////////////////////"
    "///////////////////////////wgARCAAVACUDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAH/xAAVAQEB";
const std::string kJpegExif =
    "/9j/4AAQSkZJRgABAQAAAQABAAD/4QBMRXhpZgAATU0AKgAAAAgAAQEOAAIAAAApAAAAGgAAAAB4eHh4eHh4eHh4eHh4"
    "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4AAD/2wBDAP//////////////////////////////////////////////"
    "////////////////////////////////////////2wBDAf////////////////////////////////////////////////"
    "//////////////////////////////////////wAARCAAVACUDASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAA";

// Of a WAV with 2 channels of 16 bits at 16 kHz, which Python's wave wrote; zeros follow.
const std::string kWav = "UklGRiT6AABXQVZFZm10IBAAAAABAAIAgD4AAAD6AAAEABAAZGF0YQD6AAAAAAAA";

// The first frame of an MP3: version 1, layer III, 64 kbit/s, 44.1 kHz; and an ID3v2.4 header of 21
// bytes in all.
const std::string kMp3 = "//tQxAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const std::string kId3 = "SUQzBAAAAAAACwAAAAAAAAAAAAAA";

std::string size_of(const std::string& data) {
    const PixelSize size = image_size(data);
    return std::to_string(size.width) + "x" + std::to_string(size.height);
}

TEST(MediaSize, ReadsTheHeadersOfImages) {
    for (const std::string& image :
         {kPng, kGif, kWebp, kWebpLossless, kWebpExtended, kJpegProgressive, kJpegExif}) {
        EXPECT_EQ(size_of(image), "37x21") << image;
        EXPECT_EQ(size_of("data:image/whatever;base64," + image), "37x21");
    }
}

TEST(MediaSize, UndoesTheEscapesOfBase64) {
    std::string escaped;
    for (size_t i = 0; i < kJpegExif.size(); ++i) {
        escaped += kJpegExif[i] == '/' ? "\\/" : std::string(1, kJpegExif[i]);
        escaped += i % 76 == 75 ? "\\r\\n" : "";
    }
    EXPECT_EQ(size_of(escaped), "37x21");
}

TEST(MediaSize, DoesNotKnowWhatHasNoHeader) {
    for (const char* data :
         {"", "=", "data:", "data:image/png;base64,", "https://example.com/a.png", "AAAA", "iVBORw",
          "R0lGODdh", "/9j/", "/9j/4AAB", "UklGRh4AAABXRUJQVlA4", "\\", "iVBORw0KGgoAAAANSUhEUgAA",
          "iVBORw0KGgoAAAANSUhEUgAAAAAAAAAV"}) {
        EXPECT_EQ(size_of(data), "0x0") << data;
    }
    EXPECT_EQ(size_of("data:" + std::string(1000, 'x') + "," + kPng), "0x0");
    // A frame header that begins too late: a segment of 64 KB goes before it.
    const std::string segment = "/9j/4f//" + std::string(88'000, 'A') + kJpegExif.substr(4);
    EXPECT_EQ(size_of(segment), "0x0");
    std::string line_breaks;
    for (size_t i = 0; i < kMostHeaderBytes; ++i) {
        line_breaks += "\\n";
    }
    EXPECT_EQ(size_of(line_breaks + kPng), "0x0");
}

TEST(MediaSize, SurvivesAnything) {
    std::mt19937 random(1);
    for (int round = 0; round < 20'000; ++round) {
        std::string data = round % 3 == 0 ? kJpegExif : round % 3 == 1 ? kWav : kMp3;
        for (int edits = 0; edits < 3; ++edits) {
            data[random() % data.size()] = static_cast<char>(0x20 + random() % 0x5f);
        }
        data.resize(random() % data.size());
        const std::vector<char> exact(data.begin(), data.end());
        image_size({exact.data(), exact.size()});
        EXPECT_GE(audio_length({exact.data(), exact.size()}, false).expected, 0);
    }
}

TEST(MediaSize, TellsTheLengthOfSounds) {
    const auto is_near = [](int64_t ms, int64_t expected) {
        return ms >= expected && ms <= expected + expected / 100 + 2;
    };
    const auto length = [](const std::string& data, bool is_pcm = false) {
        return audio_length(data, is_pcm).expected;
    };
    const std::string second(64'000 / 3 * 4, 'A');
    EXPECT_TRUE(is_near(length(kWav + second), 1000));
    EXPECT_TRUE(is_near(length("data:audio/wav;base64," + kWav + second), 1000));
    EXPECT_TRUE(is_near(length(std::string(64'000, 'A'), true), 1000));
    EXPECT_TRUE(is_near(audio_length(kWav + second, false).at_most, 1000));
    // 64 kbit/s, and what a rate that changes may come to.
    EXPECT_TRUE(is_near(length(kMp3 + second), 8000));
    EXPECT_TRUE(is_near(length(kId3 + kMp3 + second), 8000));
    EXPECT_TRUE(is_near(audio_length(kMp3 + second, false).at_most, 64'000));
    // Of any other format.
    EXPECT_TRUE(is_near(length(std::string(4000, 'A')), 3000));
    // A header that lies is not taken for less than that.
    const std::string slow = "UklGRiT6AABXQVZFZm10IBAAAAABAAIAAAAAAAAAAAAAABAAZGF0YQD6AAAAAAAA";
    EXPECT_TRUE(is_near(length(slow + std::string(4000, 'A')), 3048));
}

TEST(MediaSize, BoundsTheBytesOfBase64) {
    EXPECT_GE(base64_bytes("AAAA"), 3);
    EXPECT_LE(base64_bytes("AAAA"), 6);
    EXPECT_GE(base64_bytes("AAAAA"), 3);
    EXPECT_EQ(base64_bytes("data:application/pdf;base64,AAAA"), base64_bytes("AAAA"));
}

}  // namespace
}  // namespace llm
