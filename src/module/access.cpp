#include <limits>

#include "llm/body_edit.hpp"
#include "module/authenticate.hpp"
#include "module/body.hpp"
#include "module/call.hpp"
#include "module/claims.hpp"
#include "module/content.hpp"
#include "module/cost_answer.hpp"
#include "module/headers.hpp"
#include "module/models_list.hpp"
#include "module/refusal.hpp"
#include "module/token_counter.hpp"
#include "module/worker.hpp"

namespace module {

namespace {

constexpr ngx_int_t kError = NGX_HTTP_INTERNAL_SERVER_ERROR;
constexpr size_t kScanSlice = 32 * 1024;  // bytes: 0.3 ms at worst

void run_phases_again(ngx_http_request_t* r) noexcept {
    Call* call = Call::find(r);
    if (call == nullptr || call->stage != Call::Stage::reading_body) {
        return;  // the body was there at once: the access handler goes on itself
    }
    call->stage = Call::Stage::body_read;
    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}

ngx_int_t read_body(Call& call) {
    ngx_http_request_t* r = call.r;
    r->request_body_in_single_buf = 1;
    r->preserve_body = 1;  // a further attempt sends it again
    const ngx_int_t rc = ngx_http_read_client_request_body(r, run_phases_again);
    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        call.stage = Call::Stage::reading_body;
        return rc;
    }
    if (rc == NGX_AGAIN) {
        // The body reader owns the request now and may end it without asking us.
        call.stage = Call::Stage::reading_body;
        ngx_http_finalize_request(r, NGX_DONE);
        return NGX_DONE;
    }
    r->main->count--;
    call.stage = Call::Stage::body_read;
    return NGX_OK;
}

void bound_cost(Call& call) {
    const llm::ScannedRequest& asked = call.scanned;
    llm::RequestTraits traits;
    traits.tier = asked.service_tier;
    const llm::HoldBound most = llm::hold_bound(call.order, call.endpoint, call.prompt.most,
                                                asked.max_tokens, asked.choices, traits);
    const llm::HoldBound likely = llm::expected_hold(call.order, call.endpoint, call.prompt.tokens,
                                                     asked.max_tokens, asked.choices, traits);
    call.held_tokens = {call.prompt.tokens, most.completion_tokens, most.cost};
    call.expected_tokens = {call.prompt.tokens, likely.completion_tokens, likely.cost};
}

std::optional<llm::ApiError> understand(Call& call) {
    llm::ScanResult result = call.scan->take();
    call.scan.reset();
    if (auto* error = std::get_if<llm::ApiError>(&result)) {
        return std::move(*error);
    }
    call.scanned = std::move(std::get<llm::ScannedRequest>(result));
    const llm::LogicalModel* model = call.gateway.catalog.resolve(call.scanned.model);
    if (model == nullptr) {
        return llm::model_not_found(call.scanned.model);
    }
    if (!call.may_use(call.scanned.model, *model)) {
        return llm::model_not_allowed(call.scanned.model);
    }
    call.model = model;
    call.tried = {model};
    const std::string_view keeps = request_header(call.r, "x-require-model");
    call.keeps_model = !keeps.empty() && keeps != "false";
    return std::nullopt;
}

// The phases will be run again. The body reader may have left handlers of its own; a client that
// leaves meanwhile is to be noticed.
ngx_int_t wait_for_phases(Call& call) noexcept {
    call.r->write_event_handler = ngx_http_core_run_phases;
    call.r->read_event_handler = ngx_http_test_reading;
    return NGX_AGAIN;
}

ngx_int_t reserve(Call& call) {
    Worker& worker = Worker::current();
    call.stage = Call::Stage::reserving;
    const auto decision = worker.ledger().reserve(call.hold_id, call.asked_claims(), call);
    if (!decision) {
        return wait_for_phases(call);
    }
    call.take_decision(*decision);
    return NGX_OK;
}

// A location's configuration without its error pages, so that an error of the provider passes
// through.
void** without_error_pages(ngx_http_request_t* r, LocConf& conf) {
    if (conf.final_loc_conf != nullptr) {
        return conf.final_loc_conf;
    }
    ngx_pool_t* pool = ngx_cycle->pool;
    const size_t size = ngx_http_max_module * sizeof(void*);
    auto** copy = static_cast<void**>(ngx_palloc(pool, size));
    auto* core =
        static_cast<ngx_http_core_loc_conf_t*>(ngx_palloc(pool, sizeof(ngx_http_core_loc_conf_t)));
    if (copy == nullptr || core == nullptr) {
        throw std::bad_alloc();
    }
    std::memcpy(copy, r->loc_conf, size);
    *core = *static_cast<ngx_http_core_loc_conf_t*>(
        ngx_http_get_module_loc_conf(r, ngx_http_core_module));
    core->error_pages = nullptr;
    copy[ngx_http_core_module.ctx_index] = core;
    conf.final_loc_conf = copy;
    return copy;
}

// Takes the next deployment: its body, and its place in the variables that proxy_pass reads.
ngx_int_t forward(Call& call) {
    ngx_http_request_t* r = call.r;
    const llm::Deployment& next = *call.order[call.attempts++];
    call.provider_status = 0;
    call.stage = Call::Stage::forwarded;
    auto* conf = static_cast<LocConf*>(ngx_http_get_module_loc_conf(r, ngx_http_llm_module));
    llm::EditPlan plan;
    plan.model = next.model;
    plan.include_usage = call.scanned.stream && call.endpoint != llm::Endpoint::embeddings;
    plan.max_tokens = llm::max_tokens_to_send(next, call.endpoint, call.scanned.max_tokens);
    plan.bound_field = next.bound_field;
    plan.moves_bound = call.downgraded() && call.endpoint == llm::Endpoint::chat_completions;
    if (!replace_body(r, call.body, llm::plan_splices(call.body, call.scanned, plan))) {
        return kError;
    }
    if (!call.has_next_deployment()) {
        r->loc_conf = without_error_pages(r, *conf);
    }
    return NGX_DECLINED;
}

// Back through error_page: the last attempt failed before its answer began.
ngx_int_t forward_again(Call& call) {
    call.note_unanswered();
    if (!call.has_next_deployment()) {
        return answer_error(call, llm::from_status(NGX_HTTP_BAD_GATEWAY));
    }
    return forward(call);
}

ngx_int_t start(Call& call) {
    if (auto error = authenticate(call)) {
        return answer_error(call, *error);
    }
    const bool is_list =
        call.endpoint == llm::Endpoint::models || call.endpoint == llm::Endpoint::model_info;
    if (is_list && (call.r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD))) {
        const bool openai = call.endpoint == llm::Endpoint::models;
        return answer_json(call, NGX_HTTP_OK, openai ? list_models(call) : describe_models(call));
    }
    if (call.endpoint == llm::Endpoint::unknown || is_list || call.r->method != NGX_HTTP_POST) {
        return answer_error(
            call, llm::unknown_route(io::view(call.r->method_name), io::view(call.r->uri)));
    }
    if (call.is_spend() && !Worker::current().can_record()) {
        call.unrecorded = true;  // what is left of the spool is for the calls under way
        return answer_error(call, llm::from_status(NGX_HTTP_SERVICE_UNAVAILABLE));
    }
    return NGX_OK;
}

void begin_counting(Call& call) {
    int64_t limit = std::numeric_limits<int64_t>::max();
    if (call.is_spend()) {
        call.order = llm::route(*call.model, Worker::current().random());
        limit = most_tokens_admitted(call);
    } else {
        call.order = {call.model->deployments.front().get()};
    }
    call.counting =
        std::make_unique<PromptCounting>(call.body, call.scanned.prompt, call.order, limit);
}

ngx_int_t begin_scan(Call& call) {
    const auto body = whole_body(call.r);
    if (!body) {
        return kError;
    }
    call.body = *body;
    if (call.endpoint == llm::Endpoint::cost) {
        if (const auto answered = answer_cost_query(call)) {
            return *answered;
        }
    }
    // A cost that is asked for a prompt takes what a token counter takes.
    call.scan.emplace(call.body, call.is_spend() ? call.endpoint : llm::Endpoint::token_counter);
    call.stage = Call::Stage::preparing;
    return NGX_OK;
}

ngx_int_t wait_for_turn(Call& call) noexcept {
    call.stage = Call::Stage::in_queue;
    Worker::current().turns().wait(call);
    return wait_for_phases(call);
}

// One slice of what there is to do before the ledger can be asked.
ngx_int_t prepare(Call& call) {
    if (call.scan) {
        if (!call.scan->advance(kScanSlice)) {
            return wait_for_turn(call);
        }
        if (auto error = understand(call)) {
            call.r->read_event_handler = ngx_http_block_reading;
            return answer_error(call, *error);
        }
        begin_counting(call);
    }
    if (!call.counting->advance()) {
        return wait_for_turn(call);
    }
    call.prompt = call.counting->size();
    call.counting.reset();
    call.r->read_event_handler = ngx_http_block_reading;
    return NGX_OK;
}

ngx_int_t ask_ledger(Call& call) {
    if (call.endpoint == llm::Endpoint::token_counter) {
        return answer_json(call, NGX_HTTP_OK, token_count(call));
    }
    if (call.endpoint == llm::Endpoint::cost) {
        return answer_json(call, NGX_HTTP_OK, cost_of_request(call));
    }
    bound_cost(call);
    if (auto error = make_claims(call)) {
        return answer_error(call, *error);
    }
    return reserve(call);
}

// What a denied call is to be served with instead has its prompt counted, and the ledger asked,
// like any other. False: the decision stands.
bool downgrade(Call& call) {
    if (call.stage != Call::Stage::decided) {
        return false;
    }
    const llm::LogicalModel* target = downgrade_target(call);
    if (target == nullptr) {
        return false;
    }
    call.downgrade_to(*target);
    begin_counting(call);
    call.stage = Call::Stage::preparing;
    return true;
}

// Whether a call that a parallel limit denied may wait for a slot.
bool waits_for_slot(Call& call) {
    if (call.decision.outcome != ledger::Outcome::denied) {
        return false;
    }
    const ledger::ClaimTemplate& limit = *call.limits[call.decision.denied_claim];
    const auto wait_ms = static_cast<ngx_msec_t>(limit.line.wait_ms);
    if (!Worker::current().slots().wait(call, limit.counter.hash, limit.line.places, wait_ms)) {
        return false;
    }
    call.stage = Call::Stage::awaiting_slot;
    return true;
}

ngx_int_t act_on_decision(Call& call) {
    call.r->read_event_handler = ngx_http_block_reading;
    take_note(call);
    if (call.decision.outcome != ledger::Outcome::admitted && !call.shadow) {
        return waits_for_slot(call) ? wait_for_phases(call) : answer_error(call, refuse(call));
    }
    return forward(call);
}

// Goes on from where the call stands until it has to wait, is answered or is ready for proxy_pass.
ngx_int_t advance(Call& call) {
    using Stage = Call::Stage;
    if (call.stage == Stage::started) {
        if (const ngx_int_t rc = start(call); rc != NGX_OK) {
            return rc;
        }
        if (const ngx_int_t rc = read_body(call); rc != NGX_OK) {
            return rc;
        }
    }
    if (call.stage == Stage::body_read) {
        if (const ngx_int_t rc = begin_scan(call); rc != NGX_OK) {
            return rc;
        }
    }
    if (call.stage == Stage::slot_seen) {
        call.renew_hold_id();
        if (const ngx_int_t rc = ask_ledger(call); rc != NGX_OK) {
            return rc;
        }
    }
    while (call.stage == Stage::preparing || downgrade(call)) {
        if (const ngx_int_t rc = prepare(call); rc != NGX_OK) {
            return rc;
        }
        if (const ngx_int_t rc = ask_ledger(call); rc != NGX_OK) {
            return rc;
        }
    }
    switch (call.stage) {
        case Stage::reading_body:  // its reader gave up, and an error_page brought us back
        case Stage::failed:
            return answer_error(call, llm::from_status(kError));
        case Stage::decided:
            return act_on_decision(call);
        case Stage::forwarded:
            return forward_again(call);
        case Stage::answered:
            return NGX_DONE;
        default:
            return NGX_AGAIN;  // a stray event: what is waited for has not come yet
    }
}

}  // namespace

ngx_int_t access_handler(ngx_http_request_t* r) noexcept {
    const auto* conf = static_cast<LocConf*>(ngx_http_get_module_loc_conf(r, ngx_http_llm_module));
    if (!conf->enabled || r != r->main) {
        return NGX_DECLINED;
    }
    if (r->post_action) {
        return refuse_entrance(r);  // its row is written already, or its answer is for nobody
    }
    Call* call = Call::find(r);
    try {
        if (call == nullptr) {
            const auto* main =
                static_cast<MainConf*>(ngx_http_get_module_main_conf(r, ngx_http_llm_module));
            call = io::make_in_pool<Call>(r->pool, r, *main->gateway);
            if (call != nullptr) {
                call->shadow = conf->enforce == kEnforceShadow;
            }
        }
        return call == nullptr ? kError : advance(*call);
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "llm: %s", error.what());
        if (call != nullptr) {
            call->stage = Call::Stage::failed;
        }
        return kError;
    }
}

}  // namespace module
