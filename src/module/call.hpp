#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "io/ngx.hpp"
#include "io/turn_queue.hpp"
#include "ledger/ledger.hpp"
#include "llm/api_error.hpp"
#include "llm/catalog.hpp"
#include "llm/charge.hpp"
#include "llm/request_id.hpp"
#include "llm/request_scan.hpp"
#include "llm/response_tap.hpp"
#include "llm/tokenizer/output_count.hpp"
#include "module/client_abort.hpp"
#include "module/conf.hpp"
#include "module/hold_keeper.hpp"
#include "module/prompt.hpp"
#include "module/slot_queue.hpp"
#include "spend/sync_queue.hpp"

namespace module {

// One LLM call: what is known of a request from its first byte to its spend row. Lives in a cleanup
// of the request's pool, so that it outlasts the module contexts that internal redirects wipe.
class Call final : public ledger::Waiter,
                   public io::TurnQueue::Waiter,
                   public SlotQueue::Waiter,
                   public HoldKeeper::Hold,
                   public spend::SyncQueue::Waiter {
  public:
    enum class Stage : uint8_t {
        started,       // nothing done yet
        reading_body,  // nginx reads the body and will run the phases again, or has failed to
        body_read,
        preparing,  // the body is scanned and its prompt counted
        in_queue,   // for the next turn of that
        reserving,  // the ledger will decide and run the phases again
        decided,
        awaiting_slot,  // a parallel limit denied it, and it waits for room
        slot_seen,      // there may be room: the ledger is to be asked again
        forwarded,      // handed to proxy_pass; seen again only through error_page → @llm_next
        answered,       // we answered ourselves
        failed,         // unexpectedly; seen again only through error_page
    };

    Call(ngx_http_request_t* request, const Gateway& gateway);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    static Call* find(ngx_http_request_t* r) noexcept {
        return r->main->pool->cleanup == nullptr ? nullptr : io::find_in_pool<Call>(r->main->pool);
    }

    void on_decision(const ledger::Decision& decision) noexcept override;
    void on_turn() noexcept override;
    void on_slot() noexcept override;
    void renew_hold() noexcept override;
    void on_synced() noexcept override;

    // The deployment that is being tried or answered last; nullptr before routing.
    const llm::Deployment* deployment() const noexcept {
        return attempts == 0 ? nullptr : order[attempts - 1];
    }
    // By its key and by llm_model_allow. `requested` is the model's name or an alias of it.
    bool may_use(const std::string& requested, const llm::LogicalModel& target) const;
    bool downgraded() const noexcept { return tried.size() > 1; }
    // What the ledger has decided. If it admits the call there is a hold, which is renewed until
    // somebody takes it to settle it: then, and only once, take_hold() is true.
    void take_decision(const ledger::Decision& made) noexcept;
    bool take_hold() noexcept;
    // A decision is asked for once more.
    void renew_hold_id();
    // Another model is going to be asked for in place of the denied one: what the ledger said of
    // that is void.
    void downgrade_to(const llm::LogicalModel& target);
    // Asks a provider for something, or is refused that: makes a spend row.
    bool is_spend() const noexcept { return !llm::is_local(endpoint); }
    bool has_next_deployment() const noexcept { return attempts < order.size(); }
    std::span<const ledger::Claim> asked_claims() const noexcept {
        return {claims.data(), n_claims};
    }

    void count_output();
    // An attempt ended before its answer began: if it was sent, and not refused, its provider may
    // have billed it.
    void note_unanswered() noexcept;
    // The provider's answer was read to its end.
    bool is_complete() const noexcept { return facts().complete; }
    bool lacks_usage() const noexcept { return !facts().has_usage; }
    // What the call has come to so far, if it ended now.
    llm::Charge charge_so_far() const noexcept;

    ngx_http_request_t* r;
    const Gateway& gateway;
    Stage stage = Stage::started;
    llm::RequestId id;
    llm::RequestId hold_id;  // to the ledger; another one after each downgrade
    int64_t started_ms;
    llm::Dialect dialect;
    llm::Endpoint endpoint;

    const Caller* caller = nullptr;  // once authenticated

    std::optional<llm::RequestScan> scan;  // while it is going on
    std::string_view body;                 // as the client sent it; in the request's pool
    llm::ScannedRequest scanned;
    const llm::LogicalModel* model = nullptr;
    std::vector<const llm::LogicalModel*> tried;  // the last one is `model`
    bool keeps_model = false;                     // the client wants no other one
    bool shadow = false;                          // limits refuse nothing
    std::vector<const llm::Deployment*> order;
    size_t attempts = 0;

    std::unique_ptr<PromptCounting> counting;  // while it is going on
    PromptSize prompt;
    llm::HeldTokens held_tokens;                    // the most that it can use
    llm::HeldTokens expected_tokens;                // for limits that hold what it is likely to use
    std::vector<ledger::ClaimTemplate> own_limits;  // that follow from the request
    std::array<const ledger::ClaimTemplate*, ledger::kMaxClaims> limits;  // of each claim
    std::array<ledger::Claim, ledger::kMaxClaims> claims;
    size_t n_claims = 0;
    ledger::Decision decision;
    std::string_view would_be;  // shadow: the code of the refusal; empty: it would be admitted
    bool finished = false;      // settled and recorded
    bool unrecorded = false;    // refused for want of room for rows: makes none itself
    bool recorded = false;      // its row is in the spool
    bool awaits_disk = false;   // for its row, before the end of its answer goes out

    // How it was answered.
    std::string error_kind;     // the code of the error; empty: none
    int64_t retry_after_s = 0;  // 0: no Retry-After
    bool no_retry = false;      // x-should-retry: false
    bool unanswered_attempt = false;
    std::unique_ptr<Drain> drain;  // the client has left, and its answer is read on
    int provider_status = 0;
    bool parsed = false;
    int64_t first_output_ms = -1;
    // What the answer's text comes to, where its provider may not say; outlives the tap's reading.
    std::unique_ptr<llm::tokenizer::OutputCount> output;
    std::variant<std::monostate, llm::JsonTap, llm::SseTap> tap;

  private:
    void go_on() noexcept;
    const llm::ResponseFacts& facts() const noexcept;

    bool hold_open_ = false;  // to be settled
};

// Settles and records the call, once: before the end of its answer goes out, or else in the log
// phase.
void finish(Call& call) noexcept;
// Has the end of the answer wait until the row is on disk, if rows are to be waited for.
void await_disk(Call& call) noexcept;

// The phases of a call (see design: "The way of a request").
ngx_int_t access_handler(ngx_http_request_t* r) noexcept;
ngx_int_t log_handler(ngx_http_request_t* r) noexcept;

// Answers the client with an error, in its dialect, and ends the request. Returns what an access
// handler has to return then.
ngx_int_t answer_error(Call& call, const llm::ApiError& error);
// Answers with a JSON document.
ngx_int_t answer_json(Call& call, ngx_uint_t status, std::string_view body);

}  // namespace module
