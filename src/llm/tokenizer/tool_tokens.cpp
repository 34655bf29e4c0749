#include "llm/tokenizer/tool_tokens.hpp"

#include <yajl/yajl_tree.h>

#include <memory>
#include <string>

#include "llm/json_scan.hpp"
#include "llm/tokenizer/counter.hpp"

namespace llm::tokenizer {
namespace {

constexpr int64_t kProperties = 3;
constexpr int64_t kProperty = 3;
constexpr int64_t kEnum = -3;
constexpr int64_t kEnumItem = 3;

using Tree = std::unique_ptr<yajl_val_s, void (*)(yajl_val)>;

Tree parse(std::string_view json) {
    return {yajl_tree_parse(std::string(json).c_str(), nullptr, 0), yajl_tree_free};
}

yajl_val member(yajl_val object, const char* name, yajl_type type) {
    const char* path[] = {name, nullptr};
    return yajl_tree_get(object, path, type);
}

std::string_view string_member(yajl_val object, const char* name) {
    const char* text = YAJL_GET_STRING(member(object, name, yajl_t_string));
    return text == nullptr ? std::string_view() : text;
}

// A final full stop is not counted.
std::string_view description(yajl_val object) {
    std::string_view text = string_member(object, "description");
    if (text.ends_with('.')) {
        text.remove_suffix(1);
    }
    return text;
}

// Of the key that the scan has come upon.
std::string name_of_key(const json::Scan& scan, std::string_view json) {
    std::string name;
    json::unescape(json.substr(scan.raw().begin + 1, scan.raw().size() - 2), name);
    return name;
}

// Members of a format that no model is shown.
bool is_setting(std::string_view name) {
    return name == "type" || name == "format" || name == "verbosity" || name == "effort";
}

class ToolCounter {
  public:
    explicit ToolCounter(Encoding& encoding) : counter_(encoding) {}

    // False if it is not a function.
    bool add(yajl_val tool) {
        const yajl_val inner = member(tool, "function", yajl_t_object);
        const yajl_val function = inner == nullptr ? tool : inner;
        if (member(function, "name", yajl_t_string) == nullptr) {
            return false;
        }
        add_text({string_member(function, "name"), ":", description(function)});
        add_properties(member(function, "parameters", yajl_t_object));
        add_properties(member(function, "input_schema", yajl_t_object));
        return true;
    }

    int64_t tokens() const { return added_ + counter_.tokens(); }

  private:
    void add_text(std::initializer_list<std::string_view> parts) {
        for (const std::string_view part : parts) {
            counter_.feed(part);
        }
        counter_.finish();
    }

    // The scan of the request has bounded the depth.
    void add_properties(yajl_val schema) {
        const yajl_val properties = member(schema, "properties", yajl_t_object);
        if (properties == nullptr || YAJL_GET_OBJECT(properties)->len == 0) {
            return;
        }
        added_ += kProperties;
        for (size_t i = 0; i < YAJL_GET_OBJECT(properties)->len; ++i) {
            add_property(YAJL_GET_OBJECT(properties)->keys[i],
                         YAJL_GET_OBJECT(properties)->values[i]);
        }
    }

    void add_property(std::string_view name, yajl_val schema) {
        added_ += kProperty;
        add_text({name, ":", string_member(schema, "type"), ":", description(schema)});
        add_enum(member(schema, "enum", yajl_t_array));
        add_properties(schema);
        add_properties(member(schema, "items", yajl_t_object));
    }

    void add_enum(yajl_val items) {
        if (items == nullptr) {
            return;
        }
        added_ += kEnum;
        for (size_t i = 0; i < YAJL_GET_ARRAY(items)->len; ++i) {
            const char* text = YAJL_GET_STRING(YAJL_GET_ARRAY(items)->values[i]);
            added_ += kEnumItem;
            add_text({text == nullptr ? "1" : text});
        }
    }

    Counter counter_;
    int64_t added_ = 0;
};

}  // namespace

std::optional<int64_t> tool_tokens(std::string_view json, int64_t per_function,
                                   Encoding& encoding) {
    if (json.size() > kMaxToolBytes) {
        return std::nullopt;
    }
    const Tree tree = parse(json);
    ToolCounter counter(encoding);
    if (!YAJL_IS_OBJECT(tree.get()) || !counter.add(tree.get())) {
        return std::nullopt;
    }
    return per_function + counter.tokens();
}

std::optional<int64_t> tool_choice_tokens(std::string_view json, Encoding& encoding) {
    constexpr int64_t kNone = 1;
    constexpr int64_t kNamed = 7;
    if (json.starts_with('"')) {
        return json == "\"none\"" ? kNone : 0;
    }
    if (!json.starts_with('{') || json.size() > kMaxToolBytes) {
        return std::nullopt;
    }
    const Tree tree = parse(json);
    const yajl_val function = member(tree.get(), "function", yajl_t_object);
    const std::string_view name =
        string_member(function == nullptr ? tree.get() : function, "name");
    if (name.empty()) {
        return std::nullopt;
    }
    Counter counter(encoding);
    counter.feed(name);
    counter.finish();
    return kNamed + counter.tokens();
}

std::string_view schema_in(std::string_view json) {
    json::Scan scan(json);
    scan.allow(json.size());
    bool only_settings = true;
    bool at_schema = false;
    size_t begin = 0;
    int depth = 0;  // around the schema; 0: not found yet
    for (;;) {
        switch (scan.next()) {
            case json::Event::key: {
                const std::string name = name_of_key(scan, json);
                at_schema = name == "schema";
                only_settings = only_settings && is_setting(name);
                break;
            }
            case json::Event::value:
                if (depth == 0 && at_schema && scan.kind() == json::Kind::object) {
                    begin = scan.raw().begin;
                    depth = scan.depth() - 1;
                }
                at_schema = false;
                break;
            case json::Event::close:
                if (depth != 0 && scan.depth() == depth) {
                    return json.substr(begin, scan.raw().end - begin);
                }
                break;
            default:
                return only_settings ? std::string_view() : json;
        }
    }
}

}  // namespace llm::tokenizer
