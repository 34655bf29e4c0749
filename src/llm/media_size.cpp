#include "llm/media_size.hpp"

#include <algorithm>
#include <array>

namespace llm {
namespace {

constexpr uint8_t kNoDigit = 0xff;

constexpr std::array<uint8_t, 256> kDigits = [] {
    constexpr std::string_view kAlphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::array<uint8_t, 256> digits{};
    digits.fill(kNoDigit);
    for (size_t i = 0; i < kAlphabet.size(); ++i) {
        digits[static_cast<uint8_t>(kAlphabet[i])] = static_cast<uint8_t>(i);
    }
    return digits;
}();

// Without "data:…;base64,".
std::string_view base64_of(std::string_view data) {
    constexpr size_t kLongestType = 256;
    if (!data.starts_with("data:")) {
        return data;
    }
    const size_t comma = data.substr(0, kLongestType).find(',');
    return comma == std::string_view::npos ? std::string_view() : data.substr(comma + 1);
}

// The bytes of base64, one after another. Reads 0 behind the end, and says so.
class Base64Reader {
  public:
    explicit Base64Reader(std::string_view text) : text_(text.substr(0, kMostText)) {}

    uint8_t byte() {
        while (bits_ < 8) {
            const uint8_t digit = next_digit();
            if (digit == kNoDigit || position_ == kMostHeaderBytes) {
                ended_ = true;
                return 0;
            }
            word_ = word_ << 6 | digit;
            bits_ += 6;
        }
        bits_ -= 8;
        ++position_;
        return static_cast<uint8_t>(word_ >> bits_);
    }

    uint32_t big_endian(int bytes) {
        uint32_t value = 0;
        while (bytes-- > 0) {
            value = value << 8 | byte();
        }
        return value;
    }

    uint32_t little_endian(int bytes) {
        uint32_t value = 0;
        for (int i = 0; i < bytes; ++i) {
            value |= static_cast<uint32_t>(byte()) << (8 * i);
        }
        return value;
    }

    bool holds(std::string_view text) {
        return std::all_of(text.begin(), text.end(),
                           [this](char c) { return byte() == static_cast<uint8_t>(c); });
    }

    void skip(size_t bytes) {
        while (bytes-- > 0 && !ended_) {
            byte();
        }
    }

    bool ended() const { return ended_; }

  private:
    // More than a header's digits and escapes take: line breaks alone, however many, end here.
    static constexpr size_t kMostText = 2 * kMostHeaderBytes;

    // Slashes may stand escaped, and line breaks do.
    uint8_t next_digit() {
        while (!text_.empty()) {
            char c = take();
            if (c == '\\' && !text_.empty()) {
                c = take();
                if (c == 'n' || c == 'r') {
                    continue;
                }
                return c == '/' ? kDigits['/'] : kNoDigit;
            }
            return kDigits[static_cast<uint8_t>(c)];
        }
        return kNoDigit;
    }

    char take() {
        const char c = text_.front();
        text_.remove_prefix(1);
        return c;
    }

    std::string_view text_;
    uint32_t word_ = 0;
    int bits_ = 0;  // of word_ that are still to be read
    size_t position_ = 0;
    bool ended_ = false;
};

// PNG specification, 11.2.2: the image header comes first.
PixelSize png_size(Base64Reader& in) {
    in.skip(4);
    if (!in.holds("IHDR")) {
        return {};
    }
    const uint32_t width = in.big_endian(4);
    return {width, in.big_endian(4)};
}

// GIF89a specification, 18: the logical screen.
PixelSize gif_size(Base64Reader& in) {
    in.skip(2);
    const uint32_t width = in.little_endian(2);
    return {width, in.little_endian(2)};
}

// ITU T.81, B.2.2: the frame header, behind any other segments.
PixelSize jpeg_size(Base64Reader& in) {
    while (!in.ended()) {
        if (in.byte() != 0xff) {
            return {};
        }
        uint8_t marker = in.byte();
        while (marker == 0xff && !in.ended()) {
            marker = in.byte();
        }
        const uint32_t length = in.big_endian(2);
        const bool is_frame =
            marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
        if (is_frame) {
            in.skip(1);
            const uint32_t height = in.big_endian(2);
            return {in.big_endian(2), height};
        }
        if (length < 2) {
            return {};
        }
        in.skip(length - 2);
    }
    return {};
}

// RFC 9649: the canvas of the extended form, or the only frame of the others.
PixelSize webp_size(Base64Reader& in) {
    in.skip(4);
    if (!in.holds("WEBPVP8")) {
        return {};
    }
    const uint8_t form = in.byte();
    in.skip(4);
    if (form == 'X') {
        in.skip(4);
        const uint32_t width = in.little_endian(3) + 1;
        return {width, in.little_endian(3) + 1};
    }
    if (form == 'L') {
        in.skip(1);
        const uint32_t bits = in.little_endian(4);
        return {(bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1};
    }
    in.skip(6);
    const uint32_t width = in.little_endian(2) & 0x3fff;
    return {width, in.little_endian(2) & 0x3fff};
}

PixelSize any_size(Base64Reader& in) {
    switch (in.big_endian(2)) {
        case 0x8950:
            return in.holds("NG\r\n\x1a\n") ? png_size(in) : PixelSize();
        case 0x4749:
            return in.holds("F8") ? gif_size(in) : PixelSize();
        case 0xffd8:
            return jpeg_size(in);
        case 0x5249:
            return in.holds("FF") ? webp_size(in) : PixelSize();
        default:
            return {};
    }
}

// Of an MP3 (ISO/IEC 13818-3, layer III with the lowest rate).
constexpr int64_t kLeastBytesPerSecond = 1000;

// Of a WAV file, by its "fmt " chunk (RIFF: the rate of samples times their size); 0: it is none.
int64_t wav_bytes_per_second(std::string_view base64) {
    Base64Reader in(base64);
    if (!in.holds("RIFF")) {
        return 0;
    }
    in.skip(8);
    while (!in.ended()) {
        constexpr uint32_t kFormat = 0x666d7420;  // "fmt "
        const uint32_t chunk = in.big_endian(4);
        const uint32_t size = in.little_endian(4);
        if (chunk != kFormat) {
            in.skip(size + (size & 1));
            continue;
        }
        in.skip(4);
        const int64_t samples_per_second = in.little_endian(4);
        in.skip(4);
        const int64_t bytes_per_sample = in.little_endian(2);
        return in.ended() ? 0 : samples_per_second * bytes_per_sample;
    }
    return 0;
}

// The header that an MP3 may have before its frames (ID3v2.4, 3.1): its size has 7 bits a byte.
void skip_id3(Base64Reader& in) {
    in.skip(3);
    uint32_t size = 0;
    for (int i = 0; i < 4; ++i) {
        size = size << 7 | (in.byte() & 0x7f);
    }
    in.skip(size);
}

// Of an MP3, by its first frame (ISO/IEC 11172-3 and 13818-3, 2.4.2.3); 0: it is none.
int64_t mp3_bytes_per_second(std::string_view base64) {
    constexpr std::array<uint16_t, 16> kVersion1{0,   32,  40,  48,  56,  64,  80,  96,
                                                 112, 128, 160, 192, 224, 256, 320, 0};
    constexpr std::array<uint16_t, 16> kVersion2{0,  8,  16, 24,  32,  40,  48,  56,
                                                 64, 80, 96, 112, 128, 144, 160, 0};
    Base64Reader in(base64);
    uint32_t head = in.big_endian(3);
    if (head == 0x494433) {  // "ID3"
        skip_id3(in);
        head = in.big_endian(3);
    }
    const bool is_frame = head >> 13 == 0x7ff && (head >> 9 & 3) == 1;  // sync, layer III
    if (!is_frame || in.ended()) {
        return 0;
    }
    const bool is_version1 = (head >> 11 & 3) == 3;
    const uint16_t kilobits = (is_version1 ? kVersion1 : kVersion2)[head >> 4 & 15];
    return kilobits * 1000 / 8;
}

}  // namespace

PixelSize image_size(std::string_view data) noexcept {
    Base64Reader in(base64_of(data));
    const PixelSize size = any_size(in);
    return in.ended() || size.width == 0 || size.height == 0 ? PixelSize() : size;
}

int64_t base64_bytes(std::string_view data) noexcept {
    return static_cast<int64_t>(base64_of(data).size() / 4 * 3 + 3);
}

AudioLength audio_length(std::string_view data, bool is_pcm) noexcept {
    constexpr int64_t kPcmBytesPerSecond = 24'000 * 2;
    const std::string_view base64 = base64_of(data);
    const auto milliseconds = [bytes = base64_bytes(data)](int64_t rate) {
        return bytes * 1000 / std::max(rate, kLeastBytesPerSecond);
    };
    const int64_t rate = is_pcm ? kPcmBytesPerSecond : wav_bytes_per_second(base64);
    if (rate > 0) {
        return {milliseconds(rate), milliseconds(rate)};
    }
    return {milliseconds(mp3_bytes_per_second(base64)), milliseconds(0)};
}

}  // namespace llm
