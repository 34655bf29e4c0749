#include <utility>

#include "llm/media_size.hpp"
#include "llm/prompt_text.hpp"

namespace llm::scan {
namespace {

PromptImage::Detail detail_of(const Value& value) {
    if (value.kind != Kind::string) {
        return PromptImage::Detail::automatic;
    }
    if (equals(value, "low")) {
        return PromptImage::Detail::low;
    }
    if (equals(value, "high")) {
        return PromptImage::Detail::high;
    }
    return equals(value, "original") ? PromptImage::Detail::original
                                     : PromptImage::Detail::automatic;
}

}  // namespace

// A member of a block.
void PromptText::on_media(PromptKey key, const Value& value) {
    const bool is_string = value.kind == Kind::string;
    Frame& block = frames_.back();
    switch (key) {
        case PromptKey::image:
            return on_image(value);
        case PromptKey::source:
            return on_source(value);
        case PromptKey::detail:
            block.detail = detail_of(value);
            return add_other(value);
        case PromptKey::type:
            block.is_file =
                block.is_file ||
                (is_string && (equals(value, "document") || equals(value, "input_file")));
            return add_other(value);
        case PromptKey::reference:
            block.refers = block.refers || is_string;
            return add_other(value);
        case PromptKey::file_data:
            return on_file_data(value);
        default:
            break;
    }
    if (value.kind == Kind::object && key == PromptKey::sound) {
        open(Place::sound);
    } else if (value.kind == Kind::object && key == PromptKey::file) {
        open(Place::file);
    } else {
        add_other(value);
    }
}

void PromptText::on_image(const Value& value) {
    if (value.kind == Kind::string) {
        keep_image({{}, image_size(value.text)});
    } else if (value.kind == Kind::object) {
        open(Place::image);
    } else {
        add_other(value);
    }
}

void PromptText::on_source(const Value& value) {
    if (value.kind == Kind::object) {
        open(Place::source);
    } else {
        enter(value);  // a search result's
    }
}

void PromptText::on_image_member(PromptKey key, const Value& value) {
    const bool is_string = value.kind == Kind::string;
    if (key == PromptKey::url && is_string) {
        keep_image({{}, image_size(value.text)});
    } else if (key == PromptKey::detail && is_string) {
        frames_.back().detail = detail_of(value);
    } else {
        add_other(value);
    }
}

void PromptText::on_source_member(PromptKey key, const Value& value) {
    const bool is_string = value.kind == Kind::string;
    Frame& source = frames_.back();
    switch (key) {
        case PromptKey::type:
            source.is_text = source.is_text ||
                             (is_string && (equals(value, "text") || equals(value, "content")));
            source.refers = source.refers ||
                            (is_string && (equals(value, "url") || equals(value, "file")));
            return add_other(value);
        case PromptKey::media_type:
            read_media_type(value);
            return add_other(value);
        case PromptKey::content:
            source.is_text = true;
            return enter(value);
        case PromptKey::data:
            return is_string ? keep_data(value) : enter(value);
        default:
            return add_other(value);
    }
}

void PromptText::read_media_type(const Value& value) {
    Frame& source = frames_.back();
    if (value.kind != Kind::string) {
        return;
    }
    if (begins_with(value, "image/")) {
        source.is_image = true;
    } else if (begins_with(value, "text/")) {
        source.is_text = true;
    } else {
        source.is_file = true;
    }
}

void PromptText::on_sound_member(PromptKey key, const Value& value) {
    if (key == PromptKey::data && value.kind == Kind::string) {
        keep_data(value);
    } else if (key == PromptKey::format && value.kind == Kind::string) {
        frames_.back().is_pcm = equals(value, "pcm16");
    } else {
        add_other(value);
    }
}

void PromptText::on_file_member(PromptKey key, const Value& value) {
    const bool is_url = value.kind == Kind::string && key == PromptKey::url;
    if (key == PromptKey::file_data || (is_url && value.text.starts_with("data:"))) {
        on_file_data(value);
    } else {
        out_.remote_media += is_url || key == PromptKey::reference ? 1 : 0;
        add_other(value);
    }
}

void PromptText::on_file_data(const Value& value) {
    if (value.kind == Kind::string) {
        out_.file_bytes += base64_bytes(value.text);
    } else {
        add_other(value);
    }
}

// Of data that stands twice the first is taken for text, which counts most.
void PromptText::keep_data(const Value& value) {
    const auto before = std::exchange(frames_.back().data, value);
    if (before) {
        add_text(*before);
    }
}

void PromptText::keep_image(const PromptImage& image) {
    const auto before = std::exchange(frames_.back().image, image);
    if (before) {
        out_.images.push_back(*before);
    }
}

void PromptText::close(const Frame& frame, size_t end) {
    switch (frame.place) {
        case Place::structure:
            return add_structure(frame.rule, {frame.begin, end});
        case Place::image:
            return close_image(frame);
        case Place::source:
            return close_source(frame);
        case Place::sound:
            return close_sound(frame);
        case Place::block:
            return close_block(frame);
        default:
            return;
    }
}

// Its block may have a detail for it.
void PromptText::close_image(const Frame& frame) {
    PromptImage image = frame.image.value_or(PromptImage());
    image.detail = frame.detail;
    keep_image(image);
}

void PromptText::close_source(const Frame& frame) {
    if (!frame.data) {
        frames_.back().refers = frames_.back().refers || (frame.refers && !frame.is_text);
    } else if (frame.is_text || !(frame.is_file || frame.is_image)) {
        add_text(*frame.data);
    } else if (frame.is_file) {
        out_.file_bytes += base64_bytes(frame.data->text);
    } else {
        out_.images.push_back({{}, image_size(frame.data->text)});
    }
}

void PromptText::close_sound(const Frame& frame) {
    if (!frame.data || frame.data->text.empty()) {
        ++out_.remote_media;
        return;
    }
    const AudioLength length = audio_length(frame.data->text, frame.is_pcm);
    out_.audio.expected += length.expected;
    out_.audio.at_most += length.at_most;
}

void PromptText::close_block(const Frame& frame) {
    if (frame.image) {
        PromptImage image = *frame.image;
        if (image.detail == PromptImage::Detail::automatic) {
            image.detail = frame.detail;
        }
        out_.images.push_back(image);
    }
    if (frame.refers && frame.is_file) {
        ++out_.remote_media;
    } else if (frame.refers) {
        out_.images.push_back({frame.detail, {}});
    }
}

}  // namespace llm::scan
