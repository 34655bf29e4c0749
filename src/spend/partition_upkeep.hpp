#pragma once

#include <string>
#include <vector>

#include "io/postgres_client.hpp"

namespace spend {

// When to ask the database for a step of llm_spend_tend (conf/schema/003_partitions.sql): at start,
// then hourly, and again at once as long as there is something to do. Sends nothing itself.
class PartitionUpkeep {
  public:
    // `keep_days`: partitions of earlier days are dropped; 0: none is.
    explicit PartitionUpkeep(int keep_days);

    bool due() const noexcept;
    const std::string& statement() const noexcept;
    std::vector<const char*> parameters() const;

    void finished(const io::PostgresOutcome& outcome) noexcept;
    // It is not known how the statement ended.
    void lost() noexcept;

  private:
    void complain(const io::PostgresOutcome& outcome) noexcept;

    std::string keep_days_;  // empty: NULL
    ngx_msec_t due_ms_;
    bool complained_ = false;
};

}  // namespace spend
