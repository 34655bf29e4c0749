#include "ledger/redis_restore.hpp"

#include <random>

#include "ledger/redis_number.hpp"
#include "ledger/redis_script.hpp"

namespace ledger {

namespace {

// t/test_redis_restore.py reads the source from here.
constexpr std::string_view kScript = R"lua(
-- KEYS: the epoch, the lock, then counters, all different.
-- ARGV: who calls, time to live of the lock, the epoch that is expected, or 0, the one that begins,
--       or 0, time that a counter outlives its window by, then packed doubles, three per counter:
--       start and end of the window, the sum
local call, pack, parse = redis.call, struct.pack, struct.unpack
local time = call('TIME')
local now = math.floor((time[1] * 1000000 + time[2]) / 1000)
local epoch = tonumber(call('GET', KEYS[1]) or 0)
local leader = call('GET', KEYS[2])

local function answer(leads)
    return pack('<ddd', leads, epoch, now)
end

if leader and leader ~= ARGV[1] then
    return answer(0)
end
call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
if epoch ~= tonumber(ARGV[3]) then
    return answer(1)
end

local function begin_window(key, first, last, sum, rolled)
    call('PSETEX', key, last - now + ARGV[5], pack('<ddddd', first, last, sum, rolled, sum))
end

local function take(key, first, last, sum)
    local value = call('GET', key)
    if not value then
        return begin_window(key, first, last, sum, 0)
    end
    local s, e, used, rolled = parse('<dddd', value)
    if now >= e and first > s then
        return begin_window(key, first, last, sum, 1)
    elseif first < s and rolled == 1 then
        return -- a window before that one; before a counter's first there is none
    end
    local taken = #value > 32 and parse('<d', value, 33) or 0
    if sum > taken then
        call('SETRANGE', key, 16, pack('<ddd', used + sum - taken, rolled, sum))
    end
end

for i = 3, #KEYS do
    local first, last, sum = parse('<ddd', ARGV[6], 24 * (i - 3) + 1)
    if last > now then
        take(KEYS[i], first, last, sum)
    end
end
if epoch == 0 and ARGV[4] ~= '0' then
    call('SET', KEYS[1], ARGV[4])
    epoch = tonumber(ARGV[4])
end
return answer(1)
)lua";

}  // namespace

io::RedisCommand encode(const RestoreCall& call) {
    const size_t sums = call.sums.size();
    io::RedisCommand command(3 + 2 + sums + 6);
    command.add("EVAL").add(kScript).add(static_cast<int64_t>(2 + sums));
    command.add(epoch_key(call.prefix)).add(std::string(call.prefix).append("restorer"));
    std::string key;
    std::string numbers;
    for (const RestoredSum& sum : call.sums) {
        command.add(key.assign(call.prefix).append(sum.counter));
        for (const int64_t number : {sum.start_ms, sum.end_ms, sum.nano_usd}) {
            append_number(numbers, number);
        }
    }
    command.add(static_cast<int64_t>(call.owner)).add(call.lock_ms);
    command.add(static_cast<int64_t>(call.epoch)).add(static_cast<int64_t>(call.next));
    command.add(call.keep_ms).add(numbers);
    return command;
}

std::optional<RestoreReply> decode_restore(const redisReply& reply) noexcept {
    if (reply.type != REDIS_REPLY_STRING || reply.len != 3 * sizeof(double)) {
        return std::nullopt;
    }
    return RestoreReply{integer_at(reply, 0) == 1, static_cast<Epoch>(integer_at(reply, 1)),
                        integer_at(reply, 2)};
}

Epoch random_epoch() {
    std::random_device random;
    return std::uniform_int_distribution<Epoch>(kFirstEpoch, kEpochEnd - 1)(random);
}

}  // namespace ledger
