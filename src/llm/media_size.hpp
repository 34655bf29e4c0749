#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

// What the first bytes of images and sounds in a request tell of their size. `data` is the inside
// of a JSON string (escapes undecoded): base64, or a data: URL of it. Nothing is decoded but
// headers.
namespace llm {

// In pixels; 0 × 0: not known.
struct PixelSize {
    uint32_t width = 0;
    uint32_t height = 0;
};

// Of a PNG, JPEG, GIF or WebP. Not known: it is none of them, its header is broken or begins after
// the first kMostHeaderBytes, or `data` is a URL of another kind.
PixelSize image_size(std::string_view data) noexcept;

// How long a sound lasts, in milliseconds.
struct AudioLength {
    int64_t expected = 0;
    int64_t at_most = 0;  // of a compressed sound, whose rate may change on the way
};

// `is_pcm`: OpenAI's "pcm16", 24 kHz and one channel; else a WAV or MP3, by its header. Others are
// taken for the 8 kbit/s that are the least of an MP3.
AudioLength audio_length(std::string_view data, bool is_pcm) noexcept;

// The bytes that the base64 stands for, at most.
int64_t base64_bytes(std::string_view data) noexcept;

inline constexpr size_t kMostHeaderBytes = 64 * 1024;

}  // namespace llm
