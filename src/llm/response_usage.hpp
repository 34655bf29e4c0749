#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "llm/response_node.hpp"
#include "llm/usage.hpp"
#include "llm/usage_counts.hpp"

namespace llm {

// The usage that a response tells, gathered from the nodes of its documents as they come: token
// counts, what is billed by the piece, and the terms. Documents of a stream add to each other.
class ResponseUsage {
  public:
    void begin_document() noexcept { document_ = {}; }
    void enter(ResponseNode object) noexcept;
    // The object that ends, and the one around it.
    void leave(ResponseNode object, ResponseNode around) noexcept;
    void add_text(ResponseNode node, std::string_view text) noexcept;
    void add_number(ResponseNode node, std::string_view number) noexcept;
    // Something else than a number stands where a count should.
    void spoil_count() noexcept { bad_count_ = true; }
    void end_document() noexcept;

    // The last usage object told what is to be billed, or, without one, what was made did.
    bool is_known() const noexcept { return known_; }
    // At least the prompt's part of it is known.
    bool has_prompt() const noexcept { return has_prompt_; }
    // A usage object could not be understood.
    bool is_malformed() const noexcept { return malformed_; }
    Usage usage() const noexcept { return counts_.usage(other_); }

  private:
    using Node = ResponseNode;

    // What one document shows of what is billed by the piece. Later documents repeat it.
    struct Document {
        bool has_usage = false;
        int64_t searches = 0;
        int64_t file_searches = 0;
        int64_t containers = 0;
        int64_t images = 0;
    };

    // One call of a tool, of the responses API.
    struct Item {
        bool is_web_search = false;
        bool is_file_search = false;
        bool opens_page = false;
    };

    void set_count(Node node, std::string_view number) noexcept;
    void set_duration(std::string_view number) noexcept;
    void begin_item(std::string_view type) noexcept;
    void add_container(std::string_view id) noexcept;
    void set_search_context(std::string_view size) noexcept;
    void close_item() noexcept;
    void close_usage(Node node) noexcept;

    UsageCounts counts_;
    Usage other_;  // what of the usage is not tokens
    Document document_;
    Item item_;
    size_t container_ = 0;  // hash of the last one's id
    Modality modality_ = Modality::text;
    int64_t modality_tokens_ = 0;
    bool bad_count_ = false;  // in the usage object in progress
    bool known_ = false;
    bool has_prompt_ = false;
    bool malformed_ = false;
};

}  // namespace llm
