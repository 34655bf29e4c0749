#include "spend/columns.hpp"

#include <yajl/yajl_parse.h>

#include <array>
#include <memory>

namespace spend {

namespace {

enum class Kind : uint8_t { uuid, time_ms, number, text, boolean, texts };

struct Column {
    std::string_view name;
    Kind kind;
    std::string_view absent;  // array element when the row has none; empty: the row must have one
};

constexpr std::string_view kNull = "NULL";
constexpr std::string_view kZero = "0";
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
    Column{"attempts", Kind::number, kZero},
    Column{"prompt_tokens", Kind::number, kZero},
    Column{"completion_tokens", Kind::number, kZero},
    Column{"cached_tokens", Kind::number, kZero},
    Column{"cache_write_tokens", Kind::number, kZero},
    Column{"reasoning_tokens", Kind::number, kZero},
    Column{"audio_prompt_tokens", Kind::number, kZero},
    Column{"audio_completion_tokens", Kind::number, kZero},
    Column{"cost_nano_usd", Kind::number, kZero},
    Column{"input_nano_usd", Kind::number, kZero},
    Column{"cached_nano_usd", Kind::number, kZero},
    Column{"output_nano_usd", Kind::number, kZero},
    Column{"held_nano_usd", Kind::number, kZero},
    Column{"price_version", Kind::text, kNoText},
    Column{"usage_source", Kind::text, kNoText},
    Column{"stream", Kind::boolean, kFalse},
    Column{"aborted", Kind::boolean, kFalse},
    Column{"cache_hit", Kind::boolean, kFalse},
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
    std::string names, selected, types;
    for (size_t i = 0; i < kColumns.size(); ++i) {
        const char* separator = i > 0 ? ", " : "";
        names.append(separator).append("\"").append(kColumns[i].name).append("\"");
        selected.append(separator);
        append_selected(selected, kColumns[i]);
        types.append(separator).append("$" + std::to_string(i + 1) + "::");
        types.append(array_type(kColumns[i].kind));
    }
    return "INSERT INTO llm_spend (" + names + ") SELECT " + selected + " FROM unnest(" + types +
           ") AS r(" + names + ") ON CONFLICT DO NOTHING";
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

// Turns one row into cells, each an array element; an empty cell is one that the row does not have.
class RowParser {
  public:
    explicit RowParser(std::vector<std::string>& cells) : cells_(cells) {}

    bool parse(std::string_view json) {
        static constexpr yajl_callbacks kCallbacks = {
            on_null,  on_boolean, nullptr, nullptr,        on_number,    on_string,
            on_start, on_key,     on_end,  on_start_array, on_end_array,
        };
        for (std::string& cell : cells_) {
            cell.clear();
        }
        const std::unique_ptr<yajl_handle_t, void (*)(yajl_handle)> handle(
            yajl_alloc(&kCallbacks, nullptr, this), yajl_free);
        const auto* bytes = reinterpret_cast<const unsigned char*>(json.data());
        return handle && yajl_parse(handle.get(), bytes, json.size()) == yajl_status_ok &&
               yajl_complete_parse(handle.get()) == yajl_status_ok && complete();
    }

  private:
    static constexpr size_t kUnknown = kColumns.size();

    bool complete() {
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

    // Members come in the columns' order, unless another version wrote them.
    void find_column(std::string_view name) noexcept {
        const size_t expected = last_ + 1 < kColumns.size() ? last_ + 1 : 0;
        if (kColumns[expected].name == name) {
            column_ = last_ = expected;
            return;
        }
        column_ = kUnknown;
        for (size_t i = 0; i < kColumns.size(); ++i) {
            if (kColumns[i].name == name) {
                column_ = last_ = i;
                return;
            }
        }
    }

    bool known() const noexcept { return depth_ == 1 && column_ != kUnknown; }
    bool is(Kind kind) const noexcept { return kColumns[column_].kind == kind; }
    std::string& cell() noexcept { return cells_[column_]; }

    bool set_number(std::string_view digits) {
        if (!known()) {
            return true;
        }
        cell() = digits;
        return is(Kind::number) || is(Kind::time_ms);
    }

    bool set_string(std::string_view text) {
        if (in_texts_) {
            texts_.append(texts_.size() > 1 ? "," : "");
            append_element(texts_, text);
            return true;
        }
        if (!known()) {
            return true;
        }
        cell().clear();
        append_element(cell(), text);
        return is(Kind::text) || is(Kind::uuid);
    }

    bool start_array() {
        if (in_texts_) {
            return false;
        }
        ++depth_;
        if (depth_ != 2 || column_ == kUnknown) {
            return true;
        }
        texts_ = "{";
        in_texts_ = is(Kind::texts);
        return in_texts_;
    }

    bool end_array() {
        --depth_;
        if (in_texts_) {
            in_texts_ = false;
            texts_.push_back('}');
            cell().clear();
            append_element(cell(), texts_);
        }
        return true;
    }

    bool start_object() noexcept {
        ++depth_;
        return depth_ == 1 || (column_ == kUnknown && !in_texts_);
    }

    static RowParser& self(void* context) noexcept { return *static_cast<RowParser*>(context); }

    static int on_null(void* context) noexcept { return !self(context).in_texts_; }
    static int on_boolean(void* context, int value) noexcept {
        RowParser& p = self(context);
        if (!p.known()) {
            return !p.in_texts_;
        }
        p.cell() = value != 0 ? "t" : "f";
        return p.is(Kind::boolean);
    }
    static int on_number(void* context, const char* digits, size_t length) noexcept try {
        return !self(context).in_texts_ && self(context).set_number({digits, length});
    } catch (...) {
        return 0;
    }
    static int on_string(void* context, const unsigned char* text, size_t length) noexcept try {
        return self(context).set_string({reinterpret_cast<const char*>(text), length});
    } catch (...) {
        return 0;
    }
    static int on_start(void* context) noexcept { return self(context).start_object(); }
    static int on_key(void* context, const unsigned char* name, size_t length) noexcept {
        RowParser& p = self(context);
        if (p.depth_ == 1) {
            p.find_column({reinterpret_cast<const char*>(name), length});
        }
        return 1;
    }
    static int on_end(void* context) noexcept {
        --self(context).depth_;
        return 1;
    }
    static int on_start_array(void* context) noexcept try {
        return self(context).start_array();
    } catch (...) {
        return 0;
    }
    static int on_end_array(void* context) noexcept try {
        return self(context).end_array();
    } catch (...) {
        return 0;
    }

    std::vector<std::string>& cells_;
    std::string texts_;  // the array literal being built
    int depth_ = 0;
    size_t column_ = kUnknown;
    size_t last_ = kColumns.size() - 1;
    bool in_texts_ = false;
};

}  // namespace

Columns::Columns() : arrays_(kColumns.size()), cells_(kColumns.size()) {
    clear();
}

void Columns::clear() noexcept {
    for (std::string& array : arrays_) {
        array.clear();
    }
    rows_ = 0;
}

bool Columns::add(std::string_view json_line) {
    if (!RowParser(cells_).parse(json_line)) {
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
    parameters_.clear();
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

}  // namespace spend
