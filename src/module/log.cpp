#include "module/call.hpp"
#include "module/charged_budgets.hpp"
#include "module/claims.hpp"
#include "module/worker.hpp"
#include "spend/row.hpp"

namespace module {

namespace {

// "chat/completions", without the slash that paths begin with.
std::string_view endpoint_name(llm::Endpoint endpoint) noexcept {
    const std::string_view path = llm::endpoint_path(endpoint);
    return path.empty() ? path : path.substr(1);
}

bool was_streamed(const Call& call) noexcept {
    return std::holds_alternative<llm::SseTap>(call.tap);
}

// The provider began to answer, and either side broke off before the end.
bool was_aborted(const Call& call) noexcept {
    if (call.drain != nullptr) {
        return true;
    }
    if (call.provider_status == 0) {
        return call.r->connection->error ||
               call.r->headers_out.status == NGX_HTTP_CLIENT_CLOSED_REQUEST;
    }
    return call.provider_status < NGX_HTTP_SPECIAL_RESPONSE && call.parsed && !call.is_complete();
}

int client_status(const Call& call) noexcept {
    const ngx_http_request_t* r = call.r;
    if (call.drain != nullptr && !r->header_sent) {
        return NGX_HTTP_CLIENT_CLOSED_REQUEST;
    }
    const ngx_uint_t status = r->err_status != 0 ? r->err_status : r->headers_out.status;
    if (status == 0) {
        return NGX_HTTP_CLIENT_CLOSED_REQUEST;
    }
    // A header that was kept back for the cost and never went out.
    const bool lost = !r->header_sent && status < NGX_HTTP_SPECIAL_RESPONSE;
    return lost ? NGX_HTTP_BAD_GATEWAY : static_cast<int>(status);
}

std::string_view error_kind(const Call& call, bool aborted) noexcept {
    if (!call.error_kind.empty()) {
        return call.error_kind;
    }
    if (aborted) {
        return call.r->connection->error || call.provider_status == 0 ? "client_closed"
                                                                      : "upstream_closed";
    }
    return call.provider_status >= NGX_HTTP_BAD_REQUEST ? "upstream_error" : "";
}

spend::Row make_row(const Call& call, const llm::Charge& charge,
                    const std::vector<std::string>& tags, std::string_view decision) {
    spend::Row row;
    row.request_id = call.id;
    row.started_ms = call.started_ms;
    row.ended_ms = io::wall_ms();
    if (call.first_output_ms >= 0) {
        row.ttft_ms = std::max<int64_t>(0, call.first_output_ms - call.started_ms);
    }
    row.identity = &call.caller->key->identity;
    row.customer = call.scanned.user;
    row.tags = &tags;
    row.endpoint = endpoint_name(call.endpoint);
    row.requested_model = call.scanned.model;
    row.model = call.model != nullptr ? std::string_view(call.model->name) : "";
    if (const llm::Deployment* deployment = call.deployment()) {
        row.deployment = deployment->name;
        row.provider = deployment->provider->name;
        row.dialect = "openai";
    }
    row.aborted = was_aborted(call);
    row.status = client_status(call);
    row.error_kind = error_kind(call, row.aborted);
    row.decision = decision;
    row.attempts = static_cast<int>(call.attempts);
    row.usage = charge.usage;
    row.source = charge.source;
    row.cost = charge.cost;
    row.held = call.decision.held ? call.held_tokens.cost : 0;
    row.price_version = call.gateway.prices->version();
    row.stream = was_streamed(call) || call.scanned.stream;
    return row;
}

// Claims on what providers may spend that did not serve the call.
uint32_t spared_claims(const Call& call) noexcept {
    uint32_t spared = 0;
    for (size_t i = 0; i < call.n_claims; ++i) {
        const ledger::ClaimTemplate& limit = *call.limits[i];
        const bool used =
            call.deployment() != nullptr && limit.value == call.deployment()->provider->name;
        if (limit.scope == ledger::Scope::provider && !used) {
            spared |= 1U << i;
        }
    }
    return spared;
}

void settle(Call& call, const llm::Charge& charge) noexcept {
    if (!call.take_hold()) {
        return;
    }
    ledger::Actual actual;
    actual.nano_usd = charge.cost.total();
    actual.tokens = charge.usage.total_tokens();
    actual.spared = spared_claims(call);
    Worker::current().ledger().settle(call.hold_id, call.asked_claims(), actual);
    for (const ledger::Claim& claim : call.asked_claims()) {
        if (claim.unit == ledger::Unit::parallel) {
            Worker::current().slots().wake(claim.counter->hash);
        }
    }
}

void settle_and_record(Call& call) {
    if (call.attempts > 0 && call.provider_status == 0) {
        call.note_unanswered();
    }
    if (call.output != nullptr) {
        call.output->finish();
    }
    const llm::Charge charge = call.charge_so_far();
    settle(call, charge);
    if (call.unrecorded || call.caller == nullptr || !call.is_spend()) {
        return;
    }
    std::vector<std::string> tags = call.caller->key->identity.tags;
    tags.insert(tags.end(), call.scanned.tags.begin(), call.scanned.tags.end());
    const std::string decision = decision_name(call);
    spend::Row row = make_row(call, charge, tags, decision);
    if (call.attempts == 0) {
        call.recorded = Worker::current().record_refusal(row);
        return;
    }
    const auto budgets = charged_budgets(call, spared_claims(call), charge.cost.total());
    row.budgets = budgets;
    row.epoch = budgets.empty() ? ledger::kNoEpochs : call.decision.epoch;
    call.recorded = Worker::current().record(row);
}

}  // namespace

void finish(Call& call) noexcept {
    if (std::exchange(call.finished, true)) {
        return;
    }
    try {
        settle_and_record(call);
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, call.r->connection->log, 0, "llm: %s", error.what());
    }
}

void await_disk(Call& call) noexcept {
    spend::SyncQueue* syncs = Worker::current().syncs();
    if (syncs != nullptr && call.recorded) {
        call.awaits_disk = syncs->wait(call);
    }
}

ngx_int_t log_handler(ngx_http_request_t* r) noexcept {
    if (Call* call = r == r->main ? Call::find(r) : nullptr; call != nullptr) {
        finish(*call);
    }
    return NGX_OK;
}

}  // namespace module
