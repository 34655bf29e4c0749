#include "spend/spool.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include "spend/clock.hpp"

namespace spend {

namespace {

constexpr int64_t kCheckLinkEveryMs = 100;
constexpr int64_t kReportEveryMs = 1000;
constexpr uint64_t kTrialBytes = 64 * 1024;  // rows of some requests

// Whole segments are given back: with large ones a few busy workers would fill a small spool.
SpoolConfig fitted(SpoolConfig config) {
    config.segment_bytes = std::min(config.segment_bytes, config.max_bytes / 16);
    return config;
}

}  // namespace

Spool::Spool(SpoolConfig config)
    : config_(fitted(std::move(config))),
      room_(config_.directory, config_.max_bytes, config_.segment_bytes, config_.when_full) {
    if (config_.syncs) {
        disk_.emplace();
    }
}

Spool::~Spool() {
    close_active();
}

bool Spool::append(const Row& row) noexcept {
    bool recorded = false;
    try {
        line_.clear();
        append_json_line(line_, row);
        line_.push_back('\n');
        recorded = append_line();
    } catch (const std::exception&) {
        error_ = "out of memory";  // short enough to need none
    }
    ++(recorded ? counters_.rows_appended : counters_.append_failures);
    return recorded;
}

bool Spool::append_line() {
    if (!open_segment() || !claim_and_write()) {
        return false;
    }
    // Another worker may just have dropped the file for its earlier rows.
    if (drops_oldest() && active_->deleted()) {
        close_active();
        return open_segment() && claim_and_write();
    }
    return true;
}

bool Spool::claim_and_write() {
    const uint64_t end = active_->size() + line_.size();
    if (room_.covers(active_->size(), end)) {
        return write_line();
    }
    if (const auto claim = room_.claim(*active_, end)) {
        return write_line();
    }
    ++counters_.rows_refused;
    error_ = "the spool \"" + config_.directory + "\" is full (max_size or the disk)";
    close_active();  // so that it can be given back once it is stored
    return false;
}

bool Spool::write_line() {
    write_failed_ = !active_->append(line_);
    if (write_failed_) {
        report_append_error(errno);
        return false;
    }
    room_.wrote(line_.size());
    unsynced_ = disk_.has_value();
    return true;
}

// A disk that is read-only or broken, or a quota, tells by nothing else than a write.
bool Spool::takes_rows_again() {
    write_failed_ = write_failed_ && !active_->can_grow(kTrialBytes);
    if (write_failed_) {
        report_append_error(errno);
    }
    return !write_failed_;
}

void Spool::report_append_error(int error) {
    error_ = "cannot append to \"" + config_.directory + "/" + active_->name() +
             "\": " + std::strerror(error);
}

bool Spool::open_segment() {
    if (active_ && (active_->damaged() || active_->size() >= config_.segment_bytes)) {
        close_active();
    }
    if (!active_) {
        active_ = Segment::create(config_.directory, error_);
        sync_new_name();
    }
    return active_ != nullptr;
}

bool Spool::sync() noexcept {
    if (!disk_) {
        return true;
    }
    if (!disk_->idle()) {
        return true;
    }
    rows_synced_ = rows_posted_;
    return !unsynced_ || post_active();
}

bool Spool::post_active() noexcept {
    unsynced_ = !post_sync(active_->fd());
    rows_posted_ = counters_.rows_appended;
    return !unsynced_;
}

// A new file is found again after a loss of power once its directory is on disk too.
void Spool::sync_new_name() noexcept {
    if (!disk_ || !active_) {
        return;
    }
    const int directory = ::open(config_.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    post_sync(directory);
    if (directory >= 0) {
        ::close(directory);
    }
}

bool Spool::post_sync(int fd) noexcept {
    const bool posted = disk_->post(fd);
    if (!posted) {
        report_sync_error(errno);
    }
    return posted;
}

void Spool::report_sync_error(int error) noexcept {
    try {
        error_ = "cannot sync \"" + config_.directory + "\": " + std::strerror(error);
    } catch (const std::exception&) {
        error_ = "out of memory";
    }
}

bool Spool::has_reserve() noexcept {
    try {
        close_if_unlinked(monotonic_ms());
        if (drops_oldest() || room_.has_reserve()) {
            return open_segment() && takes_rows_again();
        }
        error_ = "the spool \"" + config_.directory + "\" is nearly full (max_size or the disk)";
    } catch (const std::exception&) {
        error_ = "out of memory";
        return false;
    }
    // As above; a small one is worth no file of its own.
    if (active_ && active_->size() >= config_.segment_bytes / 16) {
        close_active();
    }
    return false;
}

void Spool::close_if_unlinked(int64_t now_ms) {
    if (now_ms - checked_link_ms_ < kCheckLinkEveryMs) {
        return;
    }
    checked_link_ms_ = now_ms;
    if (active_ && active_->unlinked()) {
        close_active();
    }
}

void Spool::close_active() noexcept {
    if (!active_) {
        return;
    }
    if (unsynced_) {
        post_active();
        unsynced_ = false;
    }
    if (active_->size() == 0) {
        active_->remove();
    } else if (keeps_closed_) {
        closed_.push_back(std::move(active_));
    }
    active_.reset();
}

std::string Spool::take_error() {
    if (const int error = disk_ ? disk_->take_error() : 0; error != 0) {
        report_sync_error(error);
    }
    if (error_.empty()) {
        return {};
    }
    const int64_t now_ms = monotonic_ms();
    if (reported_at_ms_ != 0 && now_ms - reported_at_ms_ < kReportEveryMs) {
        return {};
    }
    reported_at_ms_ = now_ms;
    return std::exchange(error_, {});
}

}  // namespace spend
