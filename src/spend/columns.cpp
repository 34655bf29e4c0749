#include "spend/columns.hpp"

#include <algorithm>
#include <array>

#include "llm/json_scan.hpp"

namespace spend {

namespace json = llm::json;
using json::Event;

namespace {

enum class Kind : uint8_t { uuid, time_ms, number, text, boolean, texts };

struct Column {
    std::string_view name;
    Kind kind;
    std::string_view absent;  // array element when the row has none; empty: the row must have one
};

constexpr std::string_view kNull = "NULL";
constexpr std::string_view kZero = "0";
constexpr std::string_view kOne = "1";
constexpr std::string_view kFalse = "f";
constexpr std::string_view kNoText = R"("")";
constexpr std::string_view kNoTexts = R"("{}")";

constexpr std::array kColumns = {
    Column{"request_id", Kind::uuid, {}},
    Column{"started_at", Kind::time_ms, {}},
    Column{"ended_at", Kind::time_ms, kNull},
    Column{"ttft_ms", Kind::number, kNull},
    Column{"key_hash", Kind::text, kNoText},
    Column{"key_alias", Kind::text, kNoText},
    Column{"user", Kind::text, kNoText},
    Column{"team", Kind::text, kNoText},
    Column{"org", Kind::text, kNoText},
    Column{"customer", Kind::text, kNoText},
    Column{"tags", Kind::texts, kNoTexts},
    Column{"endpoint", Kind::text, kNoText},
    Column{"requested_model", Kind::text, kNoText},
    Column{"model", Kind::text, kNoText},
    Column{"deployment", Kind::text, kNoText},
    Column{"provider", Kind::text, kNoText},
    Column{"dialect", Kind::text, kNoText},
    Column{"status", Kind::number, kZero},
    Column{"error_kind", Kind::text, kNoText},
    Column{"decision", Kind::text, kNoText},
    Column{"attempts", Kind::number, kZero},
    Column{"prompt_tokens", Kind::number, kZero},
    Column{"completion_tokens", Kind::number, kZero},
    Column{"cached_tokens", Kind::number, kZero},
    Column{"cache_write_tokens", Kind::number, kZero},
    Column{"reasoning_tokens", Kind::number, kZero},
    Column{"audio_prompt_tokens", Kind::number, kZero},
    Column{"audio_completion_tokens", Kind::number, kZero},
    Column{"searches", Kind::number, kZero},
    Column{"service_tier", Kind::text, kNoText},
    Column{"cost_nano_usd", Kind::number, kZero},
    Column{"input_nano_usd", Kind::number, kZero},
    Column{"cached_nano_usd", Kind::number, kZero},
    Column{"output_nano_usd", Kind::number, kZero},
    Column{"reasoning_nano_usd", Kind::number, kZero},
    Column{"tools_nano_usd", Kind::number, kZero},
    Column{"held_nano_usd", Kind::number, kZero},
    Column{"price_version", Kind::text, kNoText},
    Column{"usage_source", Kind::text, kNoText},
    Column{"stream", Kind::boolean, kFalse},
    Column{"aborted", Kind::boolean, kFalse},
    Column{"cache_hit", Kind::boolean, kFalse},
    Column{"requests", Kind::number, kOne},
    Column{"epoch", Kind::number, kNull},
    Column{"budgets", Kind::texts, kNull},
};

constexpr std::string_view array_type(Kind kind) noexcept {
    switch (kind) {
        case Kind::uuid:
            return "uuid[]";
        case Kind::time_ms:
        case Kind::number:
            return "bigint[]";
        case Kind::boolean:
            return "boolean[]";
        case Kind::text:
        case Kind::texts:  // unnest would flatten an array of arrays: each goes as its literal
            return "text[]";
    }
    return "text[]";
}

void append_selected(std::string& sql, const Column& column) {
    const std::string name = "r.\"" + std::string(column.name) + '"';
    switch (column.kind) {
        case Kind::time_ms:
            sql += "to_timestamp(" + name + " / 1000.0::float8)";
            return;
        case Kind::texts:
            sql += name + "::text[]";
            return;
        default:
            sql += name;
    }
}

std::string make_insert_statement() {
    std::string names, selected, rows;
    for (size_t i = 0; i < kColumns.size(); ++i) {
        const char* separator = i > 0 ? ", " : "";
        names.append(separator).append("\"").append(kColumns[i].name).append("\"");
        selected.append(separator);
        append_selected(selected, kColumns[i]);
        rows.append(separator).append("unnest($" + std::to_string(i + 1) + "::");
        rows.append(array_type(kColumns[i].kind)).append(") AS \"");
        rows.append(kColumns[i].name).append("\"");
    }
    // In the list of a SELECT, not in its FROM: there Postgres would store each array's elements
    // away before it reads the first.
    return "INSERT INTO llm_spend (" + names + ") SELECT " + selected + " FROM (SELECT " + rows +
           ") AS r";
}

// An element of an array literal. NUL, which JSON may hold and a Postgres text cannot, is left out.
void append_element(std::string& out, std::string_view text) {
    out.push_back('"');
    size_t plain = 0;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c != '"' && c != '\\' && c != '\0') {
            continue;
        }
        out.append(text.substr(plain, i - plain));
        if (c != '\0') {
            out.push_back('\\');
            out.push_back(c);
        }
        plain = i + 1;
    }
    out.append(text.substr(plain));
    out.push_back('"');
}

// The inside of a JSON string, as text.
std::string_view text_of(const json::Scan& scan, std::string_view line, std::string& decoded) {
    const llm::Span raw = scan.raw();
    const std::string_view inside = line.substr(raw.begin + 1, raw.size() - 2);
    if (!scan.has_escapes()) {
        return inside;
    }
    decoded.clear();
    json::unescape(inside, decoded);
    return decoded;
}

// Turns one row into cells, each an array element; an empty cell is one that the row does not have.
// A cell is a piece of the line, where that says it as an array does, else of `texts`.
class RowParser {
  public:
    RowParser(std::string_view line, std::vector<std::string_view>& cells,
              std::vector<std::string>& texts)
        : line_(line), scan_(line), cells_(cells), texts_(texts) {}

    bool parse() {
        std::fill(cells_.begin(), cells_.end(), std::string_view());
        scan_.allow(line_.size());
        if (scan_.next() != Event::value || scan_.kind() != json::Kind::object) {
            return false;
        }
        for (Event event = scan_.next(); event != Event::close; event = scan_.next()) {
            if (event != Event::key || !read_member()) {
                return false;
            }
        }
        return scan_.next() == Event::end && complete();
    }

  private:
    static constexpr size_t kUnknown = kColumns.size();

    // Members come in the columns' order, unless another version wrote them.
    size_t find_column(std::string_view name) noexcept {
        const size_t expected = last_ + 1 < kColumns.size() ? last_ + 1 : 0;
        if (kColumns[expected].name == name) {
            return last_ = expected;
        }
        for (size_t i = 0; i < kColumns.size(); ++i) {
            if (kColumns[i].name == name) {
                return last_ = i;
            }
        }
        return kUnknown;
    }

    bool read_member() {
        const size_t column = find_column(text_of(scan_, line_, decoded_));
        if (scan_.next() != Event::value) {
            return false;
        }
        if (column == kUnknown) {
            return skip_value();
        }
        if (scan_.kind() == json::Kind::null) {
            return true;
        }
        switch (kColumns[column].kind) {
            case Kind::number:
            case Kind::time_ms:
                cells_[column] = raw();
                return json::is_number(scan_.kind());
            case Kind::boolean:
                cells_[column] = raw().substr(0, 1);
                return scan_.kind() == json::Kind::boolean;
            case Kind::text:
            case Kind::uuid:
                return scan_.kind() == json::Kind::string && read_text(column);
            case Kind::texts:
                return scan_.kind() == json::Kind::array && read_texts(column);
        }
        return false;
    }

    bool skip_value() noexcept {
        if (!json::is_container(scan_.kind())) {
            return true;
        }
        while (scan_.depth() > 1) {
            const Event event = scan_.next();
            if (event != Event::value && event != Event::key && event != Event::close) {
                return false;
            }
        }
        return true;
    }

    // A JSON string without escapes is an array element as it stands.
    bool read_text(size_t column) {
        if (!scan_.has_escapes()) {
            cells_[column] = raw();
            return true;
        }
        texts_[column].clear();
        append_element(texts_[column], text_of(scan_, line_, decoded_));
        cells_[column] = texts_[column];
        return true;
    }

    bool read_texts(size_t column) {
        array_ = "{";
        for (Event event = scan_.next(); event != Event::close; event = scan_.next()) {
            if (event != Event::value || scan_.kind() != json::Kind::string) {
                return false;
            }
            array_.append(array_.size() > 1 ? "," : "");
            append_element(array_, text_of(scan_, line_, decoded_));
        }
        array_.push_back('}');
        texts_[column].clear();
        append_element(texts_[column], array_);
        cells_[column] = texts_[column];
        return true;
    }

    bool complete() noexcept {
        for (size_t i = 0; i < kColumns.size(); ++i) {
            if (!cells_[i].empty()) {
                continue;
            }
            if (kColumns[i].absent.empty()) {
                return false;
            }
            cells_[i] = kColumns[i].absent;
        }
        return true;
    }

    std::string_view raw() const noexcept {
        return line_.substr(scan_.raw().begin, scan_.raw().size());
    }

    const std::string_view line_;
    json::Scan scan_;
    std::vector<std::string_view>& cells_;
    std::vector<std::string>& texts_;
    std::string decoded_;
    std::string array_;
    size_t last_ = kColumns.size() - 1;
};

}  // namespace

Columns::Columns()
    : arrays_(kColumns.size()), cells_(kColumns.size()), texts_(kColumns.size()) {
    clear();
}

void Columns::clear() noexcept {
    for (std::string& array : arrays_) {
        array.clear();
    }
    parameters_.clear();
    rows_ = 0;
}

bool Columns::add(std::string_view json_line) {
    if (!RowParser(json_line, cells_, texts_).parse()) {
        return false;
    }
    for (size_t i = 0; i < arrays_.size(); ++i) {
        arrays_[i].push_back(rows_ == 0 ? '{' : ',');
        arrays_[i].append(cells_[i]);
    }
    ++rows_;
    return true;
}

const std::vector<const char*>& Columns::parameters() {
    if (!parameters_.empty()) {
        return parameters_;
    }
    for (std::string& array : arrays_) {
        array.push_back('}');
        parameters_.push_back(array.c_str());
    }
    return parameters_;
}

const std::string& Columns::insert_statement() {
    static const std::string statement = make_insert_statement();
    return statement;
}

const std::string& Columns::insert_missing_statement() {
    static const std::string statement = make_insert_statement() + " ON CONFLICT DO NOTHING";
    return statement;
}

}  // namespace spend
