#include "llm/tokenizer/vocabulary.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

namespace llm::tokenizer {
namespace {

std::string system_error(const std::string& path) {
    return path + ": " + std::strerror(errno);
}

struct Mapping {
    const uint8_t* image;
    size_t bytes;
};

std::optional<Mapping> map_file(int file) {
    struct stat status {};
    if (fstat(file, &status) != 0) {
        return std::nullopt;
    }
    const auto bytes = static_cast<size_t>(status.st_size);
    if (bytes == 0) {
        errno = ENODATA;
        return std::nullopt;
    }
    void* image = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0);
    if (image == MAP_FAILED) {
        return std::nullopt;
    }
    return Mapping{static_cast<const uint8_t*>(image), bytes};
}

}  // namespace

Result<Vocabulary> Vocabulary::open(const std::string& path, std::string_view encoding) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return Result<Vocabulary>::failure(system_error(path));
    }
    const auto mapping = map_file(file);
    const std::string why = mapping ? std::string() : system_error(path);
    close(file);
    if (!mapping) {
        return Result<Vocabulary>::failure(why);
    }
    Vocabulary vocabulary(mapping->image, mapping->bytes);
    std::string fault = vocabulary.bind(encoding);
    if (!fault.empty()) {
        return Result<Vocabulary>::failure(path + ": " + fault);
    }
    return vocabulary;
}

Vocabulary::Vocabulary(Vocabulary&& other) noexcept : Vocabulary(nullptr, 0) {
    *this = std::move(other);
}

Vocabulary& Vocabulary::operator=(Vocabulary&& other) noexcept {
    std::swap(image_, other.image_);
    std::swap(bytes_, other.bytes_);
    header_ = other.header_;
    char_index_ = other.char_index_;
    char_blocks_ = other.char_blocks_;
    normal_index_ = other.normal_index_;
    normal_blocks_ = other.normal_blocks_;
    narrow_ = other.narrow_;
    wide_ = other.wide_;
    pairs_ = other.pairs_;
    byte_tokens_ = other.byte_tokens_;
    byte_pairs_ = other.byte_pairs_;
    pair_pilots_ = other.pair_pilots_;
    parts_ = other.parts_;
    suffix_nodes_ = other.suffix_nodes_;
    suffix_pairs_ = other.suffix_pairs_;
    joints_ = other.joints_;
    return *this;
}

Vocabulary::~Vocabulary() {
    if (image_ != nullptr) {
        munmap(const_cast<uint8_t*>(image_), bytes_);
    }
}

template <class T>
bool Vocabulary::bind(const Section& section, const T*& table, size_t entries) noexcept {
    if (section.offset % kAlignment != 0 || section.offset > bytes_ ||
        section.bytes > bytes_ - section.offset || section.bytes != entries * sizeof(T)) {
        return false;
    }
    table = reinterpret_cast<const T*>(image_ + section.offset);
    return true;
}

template <class Slot>
bool Vocabulary::bind(const Section& section, Table<Slot>& table) noexcept {
    const size_t slots = section.bytes / sizeof(Slot);
    if (slots < 2 || !std::has_single_bit(slots)) {
        return false;
    }
    table.mask = slots - 1;
    table.bits = static_cast<uint32_t>(std::countr_zero(slots));
    return bind(section, table.slots, slots);
}

std::string Vocabulary::bind(std::string_view encoding) noexcept {
    header_ = reinterpret_cast<const ImageHeader*>(image_);
    if (bytes_ < sizeof(ImageHeader) || header_->magic != kImageMagic) {
        return "not a tokenizer image";
    }
    if (header_->version != kImageVersion) {
        return "of another version of this module: build it again";
    }
    if (header_->image_bytes != bytes_ ||
        header_->header_checksum != checksum(image_, offsetof(ImageHeader, header_checksum))) {
        return "torn: build it again";
    }
    if (header_->encoding.back() != '\0' || name() != encoding) {
        return "for another encoding";
    }
    const ImageHeader& at = *header_;
    const bool bound =
        bind(at.char_index, char_index_, 0x110000 / kBlock) &&
        bind(at.char_blocks, char_blocks_, at.char_blocks.bytes) &&
        bind(at.normal_index, normal_index_, 0x110000 / kBlock) &&
        bind(at.normal_blocks, normal_blocks_, at.normal_blocks.bytes) &&
        bind(at.narrow, narrow_) && bind(at.wide, wide_) && bind(at.pairs, pairs_) &&
        bind(at.byte_tokens, byte_tokens_, 256) && bind(at.byte_pairs, byte_pairs_, 65536) &&
        bind(at.pair_pilots, pair_pilots_, (pairs_.mask + 1) / 2) &&
        bind(at.parts, parts_, at.tokens) &&
        bind(at.suffix_nodes, suffix_nodes_, at.suffix_nodes.bytes / sizeof(SuffixNode)) &&
        bind(at.suffix_pairs, suffix_pairs_, 65536) &&
        bind(at.joints, joints_, (size_t{1} << kJointBits) / 8);
    return bound ? "" : "its sections do not fit";
}

bool Vocabulary::verify() const noexcept {
    return checksum(image_ + sizeof(ImageHeader), bytes_ - sizeof(ImageHeader)) ==
           header_->content_checksum;
}

std::string Vocabulary::source_sha256() const {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (const uint8_t byte : header_->source_sha256) {
        text += kDigits[byte >> 4];
        text += kDigits[byte & 15];
    }
    return text;
}

}  // namespace llm::tokenizer
