#include "module/call.hpp"

#include <algorithm>

#include "llm/glob.hpp"
#include "module/worker.hpp"

namespace module {

namespace {

llm::RequestId new_request_id(int64_t now_ms) {
    return llm::make_request_id(now_ms, Worker::current().random_bytes());
}

}  // namespace

Call::Call(ngx_http_request_t* request, const Gateway& gateway)
    : r(request),
      gateway(gateway),
      id(new_request_id(io::wall_ms())),
      hold_id(id),
      started_ms(static_cast<int64_t>(request->start_sec) * 1000 +
                 static_cast<int64_t>(request->start_msec)),
      dialect(llm::client_dialect(io::view(request->uri))),
      endpoint(llm::endpoint_of(io::view(request->uri))) {}

Call::~Call() {
    take_hold();  // of a call that nobody has settled: it lapses
    if (stage == Stage::reserving) {
        Worker::current().ledger().abandon(*this);
    } else if (stage == Stage::in_queue) {
        Worker::current().turns().leave(*this);
    } else if (stage == Stage::awaiting_slot) {
        Worker::current().slots().leave(*this);
    }
    if (awaits_disk) {
        Worker::current().syncs()->leave(*this);
    }
}

bool Call::may_use(const std::string& requested, const llm::LogicalModel& target) const {
    const auto allows = [&](const ModelAllow& allow) {
        if (!llm::glob_matches(allow.models, target.name)) {
            return true;
        }
        const std::string_view group = io::evaluate(r, *allow.group);
        return std::find(allow.values.begin(), allow.values.end(), group) != allow.values.end();
    };
    return caller->may_use(requested, target.name) &&
           std::all_of(gateway.model_allows.begin(), gateway.model_allows.end(), allows);
}

void Call::downgrade_to(const llm::LogicalModel& target) {
    tried.push_back(&target);
    model = &target;
    renew_hold_id();
}

void Call::renew_hold_id() {
    hold_id = new_request_id(io::wall_ms());
    decision = {};
    n_claims = 0;
}

void Call::on_decision(const ledger::Decision& made) noexcept {
    take_decision(made);
    go_on();
}

void Call::take_decision(const ledger::Decision& made) noexcept {
    decision = made;
    stage = Stage::decided;
    if (made.outcome == ledger::Outcome::admitted) {
        hold_open_ = true;
        Worker::current().holds().keep(*this);
    }
}

bool Call::take_hold() noexcept {
    if (!hold_open_) {
        return false;
    }
    hold_open_ = false;
    Worker::current().holds().let_go(*this);
    return true;
}

void Call::renew_hold() noexcept {
    Worker::current().ledger().renew(hold_id, asked_claims());
}

void Call::on_turn() noexcept {
    stage = Stage::preparing;
    go_on();
}

void Call::on_slot() noexcept {
    stage = Stage::slot_seen;
    go_on();
}

void Call::on_synced() noexcept {
    awaits_disk = false;
    go_on();
}

// Back into the phases, or the filters, by way of the connection's own handler, never from inside
// who calls.
void Call::go_on() noexcept {
    ngx_post_event(r->connection->write, &ngx_posted_events);
}

void Call::note_unanswered() noexcept {
    const ngx_http_upstream_t* upstream = r->upstream;
    if (upstream != nullptr && upstream->request_sent &&
        upstream->headers_in.status_n < NGX_HTTP_SPECIAL_RESPONSE) {
        unanswered_attempt = true;
    }
}

void Call::count_output() {
    const llm::tokenizer::TextRule& rule = deployment()->tokens.text;
    output = std::make_unique<llm::tokenizer::OutputCount>(
        Worker::current().encoding(rule.encoding), rule, scanned.choices == 1);
}

const llm::ResponseFacts& Call::facts() const noexcept {
    static const llm::ResponseFacts none;
    if (const auto* json = std::get_if<llm::JsonTap>(&tap)) {
        return json->facts();
    }
    if (const auto* sse = std::get_if<llm::SseTap>(&tap)) {
        return sse->facts();
    }
    return none;
}

llm::Charge Call::charge_so_far() const noexcept {
    const llm::Deployment* used = deployment();
    if (used == nullptr) {
        return {};
    }
    llm::Ending ending;
    ending.unanswered = unanswered_attempt;
    ending.provider_status = provider_status;
    ending.parsed = parsed;
    ending.stream = std::holds_alternative<llm::SseTap>(tap);
    ending.facts = facts();
    ending.output_tokens = output != nullptr ? output->tokens() : ending.facts.output_bytes;
    return llm::charge(ending, held_tokens, used->price);
}

}  // namespace module
