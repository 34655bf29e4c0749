// The ledger's speed: pairs of reserve and settle, with 7 claims (4 budgets, requests and tokens
// per minute, parallel) over 100 000 live counters.
//   ledger memory <processes>    in shared memory, that many processes at once
//   ledger redis <port>          the script, in a Redis on this host, 64 requests in flight

#include <hiredis/hiredis.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "ledger/book.hpp"
#include "ledger/redis_script.hpp"

namespace {

using namespace ledger;

constexpr int kKeys = 20'000;  // of 5 counters each
constexpr int kTeams = 100;
constexpr int64_t kManyTokens = 1'000'000'000'000;
constexpr int64_t kMuchMoney = 1'000'000'000'000'000;

int64_t clock_us(clockid_t clock) {
    timespec t{};
    clock_gettime(clock, &t);
    return t.tv_sec * 1'000'000 + t.tv_nsec / 1000;
}

// Prints what `pairs` pairs took.
void report(const std::string& what, int64_t pairs, int64_t us) {
    std::printf("%-44s %9.0f pairs/s %8.2f us each\n", what.c_str(),
                1e6 * static_cast<double>(pairs) / static_cast<double>(us),
                static_cast<double>(us) / static_cast<double>(pairs));
}

class Scopes {
  public:
    Scopes() {
        add("global:usd:1mo", Unit::nano_usd, {WindowKind::month, 0}, kMuchMoney, 50'000);
        for (int i = 0; i < kTeams; ++i) {
            add("team:" + std::to_string(i) + ":usd:30d", Unit::nano_usd, kThirtyDays, kMuchMoney,
                50'000);
        }
        for (int i = 0; i < kKeys; ++i) {
            const std::string key = "key:" + std::to_string(i);
            add(key + ":usd:1d", Unit::nano_usd, {WindowKind::day, 0}, kMuchMoney, 50'000);
            add(key + ":usd:30d", Unit::nano_usd, kThirtyDays, kMuchMoney, 50'000);
            add(key + ":requests:1m", Unit::requests, kMinute, kManyTokens, 1);
            add(key + ":tokens:1m", Unit::tokens, kMinute, kManyTokens, 2'000);
            add(key + ":parallel", Unit::parallel, {}, 100'000, 1);
        }
    }

    std::vector<Claim> claims_of(int key) const {
        const auto first = claims_.begin() + 1 + kTeams + 5 * key;
        std::vector<Claim> claims{claims_[0], claims_[static_cast<size_t>(1 + key % kTeams)]};
        claims.insert(claims.end(), first, first + 5);
        return claims;
    }

  private:
    static constexpr Window kThirtyDays{WindowKind::fixed, 30LL * 86'400'000};
    static constexpr Window kMinute{WindowKind::sliding, 60'000};

    void add(std::string name, Unit unit, Window window, int64_t limit, int64_t amount) {
        ids_.push_back(make_counter_id(std::move(name)));
        claims_.push_back({&ids_.back(), unit, window, limit, amount});
    }

    std::deque<CounterId> ids_;
    std::vector<Claim> claims_;
};

llm::RequestId id_of(uint64_t process, uint64_t n) {
    static thread_local std::mt19937_64 random(process + 1);
    llm::RequestId id;
    const uint64_t words[2] = {n, random()};
    std::memcpy(id.bytes.data(), words, sizeof words);
    return id;
}

// ---- shared memory

struct Shared {
    std::atomic_flag lock;
    std::atomic<int64_t> us;
};

class Locked {
  public:
    explicit Locked(std::atomic_flag& lock) : lock_(lock) {
        while (lock_.test_and_set(std::memory_order_acquire)) {
        }
    }
    ~Locked() { lock_.clear(std::memory_order_release); }

  private:
    std::atomic_flag& lock_;
};

void work(Shared& shared, Book book, const std::vector<std::vector<Claim>>& requests,
          uint64_t process, int64_t pairs) {
    std::mt19937 random(static_cast<uint32_t>(process));
    const Owner owner{static_cast<int32_t>(process), getpid()};
    const int64_t start = clock_us(CLOCK_MONOTONIC);
    for (int64_t n = 0; n < pairs; ++n) {
        const auto& claims = requests[random() % requests.size()];
        const llm::RequestId id = id_of(process, static_cast<uint64_t>(n));
        const int64_t now = clock_us(CLOCK_REALTIME) / 1000;
        {
            Locked lock(shared.lock);
            if (book.reserve(id, owner, claims, now).outcome != Outcome::admitted) {
                std::abort();
            }
        }
        Locked lock(shared.lock);
        book.settle(id, {20'000, 900, true});
    }
    shared.us += clock_us(CLOCK_MONOTONIC) - start;
}

int memory(int processes) {
    constexpr size_t kBytes = 128 * 1024 * 1024;
    constexpr int64_t kPairs = 1'000'000;
    auto* region = static_cast<char*>(
        mmap(nullptr, kBytes + 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    auto& shared = *new (region) Shared{};
    Book book = Book::format(region + 4096, kBytes).value();
    const Scopes scopes;
    std::vector<std::vector<Claim>> requests;
    for (int key = 0; key < kKeys; ++key) {
        requests.push_back(scopes.claims_of(key));
        book.reserve(id_of(99, static_cast<uint64_t>(key)), {99, 1}, requests.back(),
                     clock_us(CLOCK_REALTIME) / 1000);
    }
    for (int i = 0; i < processes; ++i) {
        if (fork() == 0) {
            work(shared, book, requests, static_cast<uint64_t>(i), kPairs);
            _exit(0);
        }
    }
    while (wait(nullptr) > 0) {
    }
    report("shared memory, " + std::to_string(processes) + " process(es), " +
               std::to_string(book.counts().counters) + " counters",
           kPairs * processes, shared.us / processes);
    return 0;
}

// ---- Redis

class Server {
  public:
    explicit Server(int port) : context_(redisConnect("127.0.0.1", port)) {
        if (context_ == nullptr || context_->err != 0) {
            std::fprintf(stderr, "no Redis on port %d\n", port);
            std::exit(1);
        }
        send(io::RedisCommand(3).add("SCRIPT").add("LOAD").add(redis_script()));
        receive();
    }
    ~Server() { redisFree(context_); }

    void send(const io::RedisCommand& command) {
        redisAppendFormattedCommand(context_, command.wire().data(), command.wire().size());
    }
    std::string receive() {
        void* raw = nullptr;
        if (redisGetReply(context_, &raw) != REDIS_OK) {
            std::fprintf(stderr, "redis: %s\n", context_->errstr);
            std::exit(1);
        }
        auto* reply = static_cast<redisReply*>(raw);
        if (reply->type == REDIS_REPLY_ERROR) {
            std::fprintf(stderr, "redis: %s\n", reply->str);
            std::exit(1);
        }
        std::string text = reply->str == nullptr ? "" : std::string(reply->str, reply->len);
        freeReplyObject(reply);
        return text;
    }
    std::string ask(const io::RedisCommand& command) {
        send(command);
        return receive();
    }

  private:
    redisContext* context_;
};

io::RedisCommand call(RedisOp op, const llm::RequestId& id, const std::vector<Claim>& claims) {
    std::vector<RedisClaim> each;
    for (const Claim& c : claims) {
        const bool reserves = op == RedisOp::reserve;
        const int64_t actual = actual_amount(c.unit, c.amount, {20'000, 900, true}, 0);
        each.push_back({c.counter->name, c.unit, c.window, reserves ? c.limit : c.amount,
                        reserves ? c.amount : actual});
    }
    RedisCall all{op, "llm:{l}:", id, each};
    all.worker = 12345;
    all.at_ms = clock_us(CLOCK_REALTIME) / 1000;
    all.hold_ttl_ms = 3'600'000;
    all.lease_ttl_ms = 15'000;
    return encode(all);
}

// Redis's own processor time, in microseconds.
double cpu_us(Server& server) {
    const std::string info = server.ask(io::RedisCommand(2).add("INFO").add("CPU"));
    double seconds = 0;
    for (const char* name : {"used_cpu_sys:", "used_cpu_user:"}) {
        seconds += std::atof(info.c_str() + info.find(name) + std::strlen(name));
    }
    return 1e6 * seconds;
}

int redis(int port) {
    constexpr size_t kInFlight = 64;
    constexpr int64_t kPairs = 100'000;
    Server server(port);
    const Scopes scopes;
    std::mt19937 random(1);
    server.ask(io::RedisCommand(2).add("CONFIG").add("RESETSTAT"));
    const double cpu = cpu_us(server);
    const int64_t start = clock_us(CLOCK_MONOTONIC);
    std::vector<std::pair<llm::RequestId, std::vector<Claim>>> batch(kInFlight);
    std::vector<llm::RequestId> ended(kInFlight);
    for (int64_t done = 0; done < kPairs; done += kInFlight) {
        for (size_t i = 0; i < kInFlight; ++i) {
            batch[i] = {id_of(0, static_cast<uint64_t>(done)),
                        scopes.claims_of(static_cast<int>(random() % kKeys))};
            server.send(call(RedisOp::reserve, batch[i].first, batch[i].second));
        }
        for (size_t i = 0; i < kInFlight; ++i) {
            if (server.receive().size() != 8 * (5 + 3 * 7)) {
                std::fprintf(stderr, "not an answer\n");
                return 1;
            }
        }
        for (size_t i = 0; i < kInFlight; ++i) {
            server.send(call(RedisOp::settle, batch[i].first, batch[i].second));
            ended[i] = batch[i].first;
        }
        server.send(forget_ended("llm:{l}:", ended));
        for (size_t i = 0; i < kInFlight + 1; ++i) {
            server.receive();
        }
    }
    report("Redis, 64 in flight, one connection", kPairs, clock_us(CLOCK_MONOTONIC) - start);
    report("  of which Redis's processor", kPairs, static_cast<int64_t>(cpu_us(server) - cpu));
    const std::string stats = server.ask(io::RedisCommand(2).add("INFO").add("COMMANDSTATS"));
    const size_t evalsha = stats.find("cmdstat_evalsha:");
    std::printf("  %s\n", stats.substr(evalsha, stats.find('\r', evalsha) - evalsha).c_str());
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 3 && std::string_view(argv[1]) == "memory") {
        return memory(std::atoi(argv[2]));
    }
    if (argc == 3 && std::string_view(argv[1]) == "redis") {
        return redis(std::atoi(argv[2]));
    }
    std::fprintf(stderr, "usage: ledger memory <processes> | ledger redis <port>\n");
    return 1;
}
