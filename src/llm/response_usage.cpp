#include "llm/response_usage.hpp"

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>
#include <utility>

#include "llm/decimal.hpp"

namespace llm {

namespace {

bool is_item(ResponseNode node) noexcept {
    return node == ResponseNode::item || node == ResponseNode::billed_item;
}

std::optional<int64_t> parse_count(std::string_view text) noexcept {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    return whole && text.front() != '-' && value <= kMaxCount ? std::optional(value) : std::nullopt;
}

Locality parse_locality(std::string_view name) noexcept {
    if (name == "us") {
        return Locality::us;
    }
    return name == "eu" ? Locality::eu : Locality::global;
}

}  // namespace

void ResponseUsage::enter(Node object) noexcept {
    if (is_item(object)) {
        item_ = {};
    } else if (object == Node::modality_count) {
        modality_ = Modality::text;
        modality_tokens_ = 0;
    } else if (is_usage(object)) {
        document_.has_usage = true;
        bad_count_ = false;
        counts_.forget_modalities();
    }
}

void ResponseUsage::leave(Node object, Node around) noexcept {
    if (is_item(object)) {
        close_item();
    } else if (object == Node::modality_count) {
        counts_.add_modality(around, modality_, modality_tokens_);
    } else if (is_usage(object)) {
        close_usage(object);
    }
}

void ResponseUsage::add_text(Node node, std::string_view text) noexcept {
    switch (node) {
        case Node::tier:
            other_.terms.tier = parse_service_tier(text).value_or(ServiceTier::standard);
            return;
        case Node::locality:
            other_.terms.locality = parse_locality(text);
            return;
        case Node::speed:
            other_.terms.fast = text == "fast";
            return;
        case Node::cache_type:
            other_.terms.explicit_cache = text == "ephemeral";
            return;
        case Node::search_context:
            return set_search_context(text);
        case Node::searches:
            ++document_.searches;
            return;
        case Node::annotation_type:
            // A chat model that searches does so once, and shows only what it cites.
            document_.searches = std::max<int64_t>(document_.searches, text == "url_citation");
            return;
        case Node::image:
            ++document_.images;
            return;
        case Node::item_type:
            return begin_item(text);
        case Node::action_type:
            item_.opens_page = text == "open_page" || text == "find_in_page" || text == "find";
            return;
        case Node::container:
            return add_container(text);
        case Node::modality:
            modality_ = parse_modality(text);
            return;
        default:
            bad_count_ = bad_count_ || is_count(node);
            return;
    }
}

void ResponseUsage::add_number(Node node, std::string_view number) noexcept {
    if (is_count(node)) {
        set_count(node, number);
    } else if (node == Node::seconds) {
        set_duration(number);
    } else if (node == Node::created) {
        other_.terms.at_s = parse_count(number).value_or(0);
    }
}

void ResponseUsage::set_count(Node node, std::string_view number) noexcept {
    const auto value = parse_count(number);
    if (!value) {
        bad_count_ = true;
    } else if (node == Node::modality_tokens) {
        modality_tokens_ = *value;
    } else {
        counts_.set(node, *value);
    }
}

void ResponseUsage::set_duration(std::string_view number) noexcept {
    constexpr int kMicroDigits = 6;
    const auto seconds = Decimal::parse(number);
    const auto micros = seconds && !seconds->is_negative()
                            ? seconds->scaled(kMicroDigits, kMaxCount, Decimal::Fraction::round_up)
                            : std::nullopt;
    other_.duration_us = micros.value_or(0);
}

// Perplexity says so of every request, and bills it.
void ResponseUsage::set_search_context(std::string_view size) noexcept {
    other_.terms.search_context = size == "high"     ? SearchContext::high
                                  : size == "medium" ? SearchContext::medium
                                                     : SearchContext::low;
    document_.searches = std::max<int64_t>(document_.searches, 1);
}

void ResponseUsage::begin_item(std::string_view type) noexcept {
    item_.is_web_search = type == "web_search_call";
    item_.is_file_search = type == "file_search_call";
}

// OpenAI bills a search; opening and reading a page that it found is part of it.
void ResponseUsage::close_item() noexcept {
    document_.searches += item_.is_web_search && !item_.opens_page;
    document_.file_searches += item_.is_file_search;
}

// Calls of one response that follow each other share a container.
void ResponseUsage::add_container(std::string_view id) noexcept {
    const size_t hash = std::hash<std::string_view>()(id);
    document_.containers += std::exchange(container_, hash) != hash;
}

void ResponseUsage::close_usage(Node node) noexcept {
    if (bad_count_) {
        known_ = false;
        malformed_ = true;
        return;
    }
    has_prompt_ = has_prompt_ || counts_.has_prompt();
    if (node == Node::usage) {
        known_ = counts_.has_prompt() || other_.duration_us > 0;
        malformed_ = malformed_ || !known_;
    }
}

// What is billed by the piece may stand behind the usage object, or be all that there is.
void ResponseUsage::end_document() noexcept {
    other_.searches = std::max(other_.searches, document_.searches);
    other_.file_searches = std::max(other_.file_searches, document_.file_searches);
    other_.containers = std::max(other_.containers, document_.containers);
    other_.images = std::max(other_.images, document_.images);
    const bool by_the_piece = other_.images > 0 || other_.duration_us > 0;
    known_ = known_ || (by_the_piece && !document_.has_usage);
}

}  // namespace llm
