#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace spend {

// Spooled rows turned into what one INSERT takes: a Postgres array literal for each column of
// llm_spend. Knows the table's columns; knows nothing of a connection.
class Columns {
  public:
    Columns();

    // False: the line is not a row (no JSON object, no request_id or started_at, a value of the
    // wrong kind); nothing was added. Members that this version does not know are ignored, those
    // that an older version did not write get their default.
    bool add(std::string_view json_line);

    size_t rows() const noexcept { return rows_; }
    void clear() noexcept;

    // Text-format parameters $1… of both statements. They live until `clear`, which must come before
    // the next `add`.
    const std::vector<const char*>& parameters();

    // Fails with kUniqueViolation, and stores nothing, if a row is stored already.
    static const std::string& insert_statement();
    // Skips rows that are stored already; takes Postgres a third longer.
    static const std::string& insert_missing_statement();
    static constexpr std::string_view kUniqueViolation = "23505";

  private:
    std::vector<std::string> arrays_;  // one literal for each column, without its closing brace
    // The row that is being parsed; kept for their memory.
    std::vector<std::string_view> cells_;
    std::vector<std::string> texts_;
    std::vector<const char*> parameters_;
    size_t rows_ = 0;
};

}  // namespace spend
