#include "spend/spool_reader.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace spend {

namespace {

constexpr size_t kMaxHeld = 64;  // so that a large backlog does not eat the file descriptors

}  // namespace

void SpoolReader::forget_dropped() {
    collect_closed();
    std::erase_if(held_,
                  [this](const auto& one) { return one.get() != reading_ && one->deleted(); });
}

void SpoolReader::adopt_orphans() {
    if (held_.size() >= kMaxHeld) {
        return;
    }
    std::string error;
    for (const SegmentFile& file : list_spool(spool_.directory()).segments) {
        if (held_.size() >= kMaxHeld) {
            break;
        }
        auto segment = Segment::adopt(spool_.directory(), file.name, error);
        if (!error.empty()) {
            spool_.report(error);
        }
        if (segment) {
            hold(std::move(segment));
        }
    }
}

// What is done already, or empty, is deleted at once.
void SpoolReader::hold(std::unique_ptr<Segment> segment) {
    const auto place =
        std::upper_bound(held_.begin(), held_.end(), segment,
                         [](const auto& a, const auto& b) { return a->name() < b->name(); });
    Segment* held = held_.insert(place, std::move(segment))->get();
    drop_if_done(held);
}

void SpoolReader::collect_closed() {
    for (auto& closed : spool_.take_closed()) {
        hold(std::move(closed));
    }
}

// The segment of the lines that are being read, else the oldest one with something to read.
Segment* SpoolReader::select() {
    collect_closed();
    if (reading_ != nullptr) {
        return reading_;
    }
    Segment* next = held_.empty() ? spool_.active() : held_.front().get();
    if (next == nullptr || next->committed() == next->size()) {
        return nullptr;
    }
    reading_ = next;
    position_ = next->committed();
    return next;
}

bool SpoolReader::read(size_t max_lines, size_t max_bytes, std::vector<std::string_view>& lines) {
    Segment* segment = select();
    if (segment == nullptr || position_ == segment->size()) {
        return false;
    }
    std::string_view bytes;
    if (!fill(*segment, max_bytes, bytes)) {
        return false;
    }
    size_t consumed = 0;
    for (size_t taken = 0; taken < max_lines;) {
        const size_t end = bytes.find('\n', consumed);
        if (end == bytes.npos) {
            break;
        }
        const std::string_view line = bytes.substr(consumed, end - consumed);
        consumed = end + 1;
        if (verify_json_line(line)) {
            lines.push_back(line);
            ++taken;
        } else {
            ++torn_read_;
        }
    }
    if (consumed == 0) {
        // No newline up to the end of the file, or for longer than a line can be.
        consumed = bytes.size();
        ++torn_read_;
    }
    position_ += consumed;
    return true;
}

// At least one line, if there is one at the read position.
bool SpoolReader::fill(const Segment& segment, size_t max_bytes, std::string_view& bytes) {
    for (const size_t wanted : {max_bytes, kMaxLineBytes}) {
        if (buffer_.size() < wanted) {
            buffer_.resize(wanted);
        }
        const ssize_t n = segment.read_at(position_, buffer_.data(), wanted);
        if (n <= 0) {
            give_up(segment, n < 0 ? std::strerror(errno) : "it is shorter than it was");
            return false;
        }
        bytes = {buffer_.data(), static_cast<size_t>(n)};
        if (bytes.size() < wanted || bytes.find('\n') != bytes.npos) {
            break;
        }
    }
    return true;
}

// Lets go of a segment that cannot be read, so that it does not hold up the others. An orphan will
// be adopted again.
void SpoolReader::give_up(const Segment& segment, const char* why) {
    spool_.report("cannot read \"" + spool_.directory() + "/" + segment.name() + "\": " + why);
    rewind();
    if (&segment == spool_.active()) {
        return;
    }
    std::erase_if(held_, [&](const auto& one) { return one.get() == &segment; });
}

bool SpoolReader::commit() {
    if (reading_ == nullptr) {
        return false;
    }
    Segment* segment = reading_;
    reading_ = nullptr;
    torn_lines_ += std::exchange(torn_read_, 0);
    if (!segment->commit(position_)) {
        spool_.report("cannot write the position of \"" + spool_.directory() + "/" +
                      segment->name() + "\": " + std::strerror(errno));
    }
    drop_if_done(segment);
    return true;
}

void SpoolReader::rewind() noexcept {
    reading_ = nullptr;
    torn_read_ = 0;
}

void SpoolReader::give_back() {
    const Segment* active = spool_.active();
    if (active != nullptr && active->committed() == active->size()) {
        spool_.close_active();
    }
    collect_closed();
}

void SpoolReader::drop_if_done(Segment* segment) {
    if (segment->committed() < segment->size()) {
        return;
    }
    const auto held = std::find_if(held_.begin(), held_.end(),
                                   [&](const auto& one) { return one.get() == segment; });
    if (held == held_.end()) {
        return;
    }
    segment->remove();
    held_.erase(held);
    spool_.forget_usage();
}

uint64_t SpoolReader::backlog_bytes() {
    collect_closed();
    uint64_t bytes = 0;
    for (const auto& segment : held_) {
        bytes += segment->size() - segment->committed();
    }
    if (const Segment* active = spool_.active(); active != nullptr) {
        bytes += active->size() - active->committed();
    }
    return bytes;
}

}  // namespace spend
