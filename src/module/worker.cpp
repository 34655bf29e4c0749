#include "module/worker.hpp"

#include <openssl/rand.h>

#include "module/conf.hpp"
#include "module/vocabularies.hpp"
#include "module/zone.hpp"

namespace module {

namespace {

constexpr ngx_msec_t kHousekeepingMs = 1000;
constexpr ngx_msec_t kRefusalsMs = 10'000;  // sums of refusals cover so long at most
constexpr size_t kRefusalsPerTurn = 256;    // half a millisecond
constexpr size_t kLapsesPerTurn = 1000;
// What a worker that is told to go may spend, all in all, on what is not delivered yet. The spool
// and the deadline of holds take care of the rest.
constexpr int kDrainMs = 1000;

std::unique_ptr<Worker> worker;

void fill_random(void* bytes, size_t size) {
    if (RAND_bytes(static_cast<unsigned char*>(bytes), static_cast<int>(size)) != 1) {
        throw std::runtime_error("no random bytes");
    }
}

ledger::Book book_of(const Gateway& gateway) {
    const ZoneMemory zone = zone_memory(gateway.zone);
    const auto book = ledger::Book::attach(zone.memory, zone.bytes);
    if (!book) {
        throw std::runtime_error("llm_zone has another layout");
    }
    return *book;
}

spend::SpoolConfig spool_config(const SpoolSettings& settings) {
    spend::SpoolConfig config;
    config.directory = io::view(settings.path->name);
    config.syncs = settings.fsync.when != Fsync::When::off;
    config.when_full = settings.when_full;
    if (settings.max_bytes != 0) {
        config.max_bytes = settings.max_bytes;
        config.segment_bytes = std::min(config.segment_bytes, settings.max_bytes / 16);
    }
    return config;
}

// Postgres has what Redis may lose.
bool restores(const Gateway& gateway) {
    return gateway.redis && gateway.postgres;
}

ledger::RedisLedgerConfig redis_ledger_config(const Gateway& gateway) {
    ledger::RedisLedgerConfig config;
    config.redis = gateway.redis->client;
    config.on_failure = gateway.redis->on_failure;
    config.has_epochs = restores(gateway);
    return config;
}

std::unique_ptr<ledger::RedisLedger> make_redis_ledger(const Gateway& gateway,
                                                       ledger::ShmLedger& local) {
    local.set_epochs(restores(gateway));
    if (!gateway.redis) {
        return nullptr;
    }
    return std::make_unique<ledger::RedisLedger>(redis_ledger_config(gateway), local);
}

std::unique_ptr<Restorer> make_restorer(const Gateway& gateway, const ledger::ShmLedger& ledger) {
    if (!restores(gateway) || ngx_worker != 0) {
        return nullptr;
    }
    const ledger::RedisLedgerConfig config = redis_ledger_config(gateway);
    return std::make_unique<Restorer>(RestorerConfig{gateway.postgres->conninfo, config.key_prefix,
                                                     ledger.number(), config.hold_ttl_ms});
}

std::unique_ptr<spend::PostgresWriter> make_writer(const Gateway& gateway, spend::Spool& spool,
                                                   io::TurnQueue& turns) {
    if (!gateway.postgres) {
        return nullptr;
    }
    spend::WriterConfig config;
    config.conninfo = gateway.postgres->conninfo;
    config.batch = gateway.postgres->batch;
    config.flush_ms = gateway.postgres->flush_ms;
    config.tends_partitions = ngx_worker == 0;
    config.keep_days = gateway.postgres->keep_days;
    auto writer = std::make_unique<spend::PostgresWriter>(std::move(config), spool, turns);
    writer->start();
    return writer;
}

}  // namespace

Worker::Worker(const Gateway& gateway)
    : shm_ledger_(book_of(gateway), *zone_memory(gateway.zone).mutex),
      restorer_(make_restorer(gateway, shm_ledger_)),
      redis_ledger_(make_redis_ledger(gateway, shm_ledger_)),
      spool_(spool_config(*gateway.spool)),
      fsync_(gateway.spool->fsync),
      sync_([](void* self) noexcept { static_cast<Worker*>(self)->sync_spool(); }, this),
      sums_refusals_(gateway.spool->sums_refusals),
      refusals_due_([](void* self) noexcept { static_cast<Worker*>(self)->record_refusals(); },
                    this),
      writer_(make_writer(gateway, spool_, turns_)),
      housekeeping_([](void* self) noexcept { static_cast<Worker*>(self)->housekeep(); }, this) {
    if (fsync_.when == Fsync::When::always) {
        syncs_ = std::make_unique<spend::SyncQueue>(spool_);
    }
    make_encodings();
    shm_ledger_.lapse_predecessors();
    if (restorer_ != nullptr) {
        restorer_->start(*redis_ledger_);
    }
    housekeeping_.arm(kHousekeepingMs);
}

void Worker::make_encodings() {
    using llm::tokenizer::EncodingName;
    for (size_t i = 0; i < encodings_.size(); ++i) {
        const auto name = static_cast<EncodingName>(i);
        if (const llm::tokenizer::Vocabulary* vocabulary = mapped_vocabulary(name)) {
            uint64_t seed = 0;
            fill_random(&seed, sizeof(seed));
            encodings_[i] = std::make_unique<llm::tokenizer::Encoding>(
                *vocabulary, llm::tokenizer::pattern_of(vocabulary->name()), seed);
        }
    }
}

ledger::Ledger& Worker::ledger() noexcept {
    if (redis_ledger_ != nullptr) {
        return *redis_ledger_;
    }
    return shm_ledger_;
}

std::array<uint8_t, 10> Worker::random_bytes() {
    std::array<uint8_t, 10> bytes;
    if (random_used_ + bytes.size() > random_pool_.size()) {
        fill_random(random_pool_.data(), random_pool_.size());
        random_used_ = 0;
    }
    std::memcpy(bytes.data(), random_pool_.data() + random_used_, bytes.size());
    random_used_ += bytes.size();
    return bytes;
}

void Worker::housekeep() noexcept {
    shm_ledger_.lapse(kLapsesPerTurn);
    report_spool_error();
    if (const std::string warning = spool_.take_warning(); !warning.empty()) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0, "llm spool: %s", warning.c_str());
    }
    housekeeping_.arm(kHousekeepingMs);
}

void Worker::sync_spool() noexcept {
    spool_.sync();
    report_spool_error();
    if (spool_.unsynced()) {
        sync_.arm(fsync_.interval_ms);
    }
}

void Worker::report_spool_error() noexcept {
    const std::string error = spool_.take_error();
    if (!error.empty()) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "llm spool: %s", error.c_str());
    }
}

bool Worker::record(const spend::Row& row) noexcept {
    if (!spool_.append(row)) {
        report_spool_error();
        return false;
    }
    if (fsync_.when == Fsync::When::interval && spool_.unsynced() && !sync_.armed()) {
        sync_.arm(fsync_.interval_ms);
    }
    if (writer_ != nullptr) {
        writer_->notify_appended();
    }
    return true;
}

bool Worker::record_refusal(const spend::Row& row) {
    if (!sums_refusals_) {
        return record(row);
    }
    if (refusals_.full()) {
        record_refusals();
    }
    refusals_.add(row);
    if (!refusals_due_.armed()) {
        refusals_due_.arm(kRefusalsMs);
    }
    return false;
}

void Worker::record_refusals() noexcept {
    refusals_due_.cancel();
    refusals_.take(kRefusalsPerTurn, [this](const spend::Row& row) { record(row); });
    if (!refusals_.empty()) {
        refusals_due_.arm(1);
    }
}

bool Worker::can_record() noexcept {
    if (spool_.has_reserve()) {
        return true;
    }
    report_spool_error();
    return false;
}

ngx_int_t Worker::init(ngx_cycle_t* cycle) noexcept {
    const auto* conf =
        static_cast<MainConf*>(ngx_http_cycle_get_module_main_conf(cycle, ngx_http_llm_module));
    const bool serves = ngx_process == NGX_PROCESS_WORKER || ngx_process == NGX_PROCESS_SINGLE;
    if (!serves || conf == nullptr || !conf->enabled) {
        return NGX_OK;
    }
    try {
        worker = std::make_unique<Worker>(*conf->gateway);
        return NGX_OK;
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "llm: %s", error.what());
        return NGX_ERROR;
    }
}

void Worker::exit(ngx_cycle_t*) noexcept {
    if (worker == nullptr) {
        return;
    }
    while (!worker->refusals_.empty()) {
        worker->record_refusals();
    }
    if (worker->redis_ledger_ != nullptr) {
        worker->redis_ledger_->drain(kDrainMs);
    }
    if (worker->writer_ != nullptr) {
        worker->writer_->drain(kDrainMs);
    }
    worker.reset();
}

Worker& Worker::current() noexcept {
    return *worker;
}

}  // namespace module
