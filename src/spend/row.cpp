#include "spend/row.hpp"

#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include "llm/json_writer.hpp"

namespace spend {

namespace {

constexpr std::string_view kCrcMember = R"(,"crc":")";
constexpr size_t kCrcDigits = 8;
constexpr size_t kTrailerBytes = kCrcMember.size() + kCrcDigits + 2;  // quote and brace

// "Slicing by 8": table k advances a byte over k further zero bytes, so that eight bytes take eight
// independent look-ups.
using CrcTables = std::array<std::array<uint32_t, 256>, 8>;

constexpr CrcTables make_crc_tables() {
    CrcTables tables{};
    for (uint32_t byte = 0; byte < 256; ++byte) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
        }
        tables[0][byte] = crc;
    }
    for (size_t k = 1; k < tables.size(); ++k) {
        for (size_t byte = 0; byte < 256; ++byte) {
            const uint32_t crc = tables[k - 1][byte];
            tables[k][byte] = (crc >> 8) ^ tables[0][crc & 0xFF];
        }
    }
    return tables;
}

constexpr CrcTables kCrcTables = make_crc_tables();

uint32_t crc32(std::string_view bytes) noexcept {
    const auto& t = kCrcTables;
    uint32_t crc = ~0u;
    if constexpr (std::endian::native == std::endian::little) {
        for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
            uint32_t low = 0;
            uint32_t high = 0;
            std::memcpy(&low, bytes.data(), 4);
            std::memcpy(&high, bytes.data() + 4, 4);
            low ^= crc;
            crc = t[7][low & 0xFF] ^ t[6][(low >> 8) & 0xFF] ^ t[5][(low >> 16) & 0xFF] ^
                  t[4][low >> 24] ^ t[3][high & 0xFF] ^ t[2][(high >> 8) & 0xFF] ^
                  t[1][(high >> 16) & 0xFF] ^ t[0][high >> 24];
        }
    }
    for (const char c : bytes) {
        crc = (crc >> 8) ^ t[0][(crc ^ static_cast<uint8_t>(c)) & 0xFF];
    }
    return ~crc;
}

std::array<char, kCrcDigits> to_hex(uint32_t value) noexcept {
    std::array<char, kCrcDigits> hex{};
    for (size_t i = 0; i < kCrcDigits; ++i) {
        hex[i] = "0123456789abcdef"[(value >> (28 - 4 * i)) & 0xF];
    }
    return hex;
}

std::string_view clip(std::string_view text) noexcept {
    if (text.size() <= kMaxTextBytes) {
        return text;
    }
    size_t end = kMaxTextBytes;
    while (end > kMaxTextBytes - 4 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) {
        --end;
    }
    return text.substr(0, end);
}

constexpr std::string_view name_of(llm::UsageSource source) noexcept {
    switch (source) {
        case llm::UsageSource::none:
            return "none";
        case llm::UsageSource::reported:
            return "reported";
        case llm::UsageSource::counted:
            return "counted";
        case llm::UsageSource::held:
            return "held";
    }
    return "none";
}

// Appends members; `member` is the literal text `,"name":`.
class Writer {
  public:
    explicit Writer(std::string& out) : out_(out) {}

    void text(std::string_view member, std::string_view value) {
        out_.append(member);
        llm::append_json_string(out_, clip(value));
    }

    void number(std::string_view member, int64_t value) {
        if (value >= 0 && value < 10) {  // most are 0
            out_.append(member).push_back(static_cast<char>('0' + value));
            return;
        }
        char digits[24];
        const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
        out_.append(member);
        out_.append(digits, static_cast<size_t>(end - digits));
    }

    void boolean(std::string_view member, bool value) {
        out_.append(member);
        out_.append(value ? "true" : "false");
    }

    void tags(std::string_view member, const std::vector<std::string>& tags) {
        out_.append(member);
        out_.push_back('[');
        const size_t count = std::min(tags.size(), kMaxTags);
        for (size_t i = 0; i < count; ++i) {
            if (i > 0) {
                out_.push_back(',');
            }
            llm::append_json_string(out_, clip(tags[i]));
        }
        out_.push_back(']');
    }

    // Each as "<counter>@<start>-<end>".
    void budgets(std::string_view member, std::span<const ChargedBudget> budgets) {
        out_.append(member);
        out_.push_back('[');
        for (const ChargedBudget& budget : budgets) {
            out_.append(&budget == budgets.data() ? "" : ",");
            llm::append_json_string(out_, budget.counter);
            out_.pop_back();
            number("@", budget.start_ms);
            number("-", budget.end_ms);
            out_.push_back('"');
        }
        out_.push_back(']');
    }

    void optional_ms(std::string_view member, int64_t value) {
        if (value >= 0) {
            number(member, value);
            return;
        }
        out_.append(member);
        out_.append("null");
    }

  private:
    std::string& out_;
};

void append_who(Writer& w, const Row& row) {
    static const llm::Identity nobody;
    static const std::vector<std::string> no_tags;
    const llm::Identity& who = row.identity != nullptr ? *row.identity : nobody;
    w.text(R"(,"key_hash":)", who.key_hash);
    w.text(R"(,"key_alias":)", who.key_alias);
    w.text(R"(,"user":)", who.user);
    w.text(R"(,"team":)", who.team);
    w.text(R"(,"org":)", who.org);
    w.text(R"(,"customer":)", row.customer);
    w.tags(R"(,"tags":)", row.tags != nullptr ? *row.tags : no_tags);
}

void append_what(Writer& w, const Row& row) {
    w.text(R"(,"endpoint":)", row.endpoint);
    w.text(R"(,"requested_model":)", row.requested_model);
    w.text(R"(,"model":)", row.model);
    w.text(R"(,"deployment":)", row.deployment);
    w.text(R"(,"provider":)", row.provider);
    w.text(R"(,"dialect":)", row.dialect);
    w.number(R"(,"status":)", row.status);
    w.text(R"(,"error_kind":)", row.error_kind);
    w.text(R"(,"decision":)", row.decision);
    w.number(R"(,"attempts":)", row.attempts);
}

void append_amounts(Writer& w, const Row& row) {
    w.number(R"(,"prompt_tokens":)", row.usage.prompt_tokens);
    w.number(R"(,"completion_tokens":)", row.usage.completion_tokens);
    w.number(R"(,"cached_tokens":)", row.usage.cached_tokens);
    w.number(R"(,"cache_write_tokens":)", row.usage.cache_write_tokens);
    w.number(R"(,"reasoning_tokens":)", row.usage.reasoning_tokens);
    w.number(R"(,"audio_prompt_tokens":)", row.usage.audio_prompt_tokens);
    w.number(R"(,"audio_completion_tokens":)", row.usage.audio_completion_tokens);
    w.number(R"(,"searches":)", row.usage.searches);
    w.text(R"(,"service_tier":)", llm::name_of(row.usage.terms.tier));
    w.number(R"(,"cost_nano_usd":)", row.cost.total());
    w.number(R"(,"input_nano_usd":)", row.cost.input);
    w.number(R"(,"cached_nano_usd":)", row.cost.cached);
    w.number(R"(,"output_nano_usd":)", row.cost.output);
    w.number(R"(,"reasoning_nano_usd":)", row.cost.reasoning);
    w.number(R"(,"tools_nano_usd":)", row.cost.tools);
    w.number(R"(,"held_nano_usd":)", row.held);
    w.text(R"(,"price_version":)", row.price_version);
    w.text(R"(,"usage_source":)", name_of(row.source));
    w.boolean(R"(,"stream":)", row.stream);
    w.boolean(R"(,"aborted":)", row.aborted);
    w.boolean(R"(,"cache_hit":)", row.cache_hit);
    if (row.requests != 1) {
        w.number(R"(,"requests":)", row.requests);
    }
}

}  // namespace

void append_json_line(std::string& out, const Row& row) {
    const size_t start = out.size();
    Writer w(out);
    w.text(R"({"request_id":)", llm::to_string(row.request_id));
    w.number(R"(,"started_at":)", row.started_ms);
    w.number(R"(,"ended_at":)", row.ended_ms);
    w.optional_ms(R"(,"ttft_ms":)", row.ttft_ms);
    append_who(w, row);
    append_what(w, row);
    append_amounts(w, row);
    if (row.epoch != 0) {
        w.number(R"(,"epoch":)", static_cast<int64_t>(row.epoch));
        w.budgets(R"(,"budgets":)", row.budgets);
    }

    const auto crc = to_hex(crc32(std::string_view(out).substr(start)));
    out.append(kCrcMember);
    out.append(crc.data(), crc.size());
    out.append("\"}");
}

bool verify_json_line(std::string_view line) noexcept {
    if (line.size() < kTrailerBytes) {
        return false;
    }
    const std::string_view body = line.substr(0, line.size() - kTrailerBytes);
    const std::string_view trailer = line.substr(body.size());
    if (!trailer.starts_with(kCrcMember) || !trailer.ends_with("\"}")) {
        return false;
    }
    const auto crc = to_hex(crc32(body));
    return trailer.substr(kCrcMember.size(), kCrcDigits) ==
           std::string_view(crc.data(), crc.size());
}

}  // namespace spend
