#include "ledger/redis_script.hpp"

#include <hiredis/hiredis.h>
#include <openssl/sha.h>

#include "ledger/window.hpp"

namespace ledger {

namespace {

// t/test_redis_script.py reads the source from here.
constexpr std::string_view kScript = R"lua(
-- KEYS: the hold, then one counter per claim.
-- ARGV: op, request id, hold ttl, time of the admission, then five per claim:
--       kind (f fixed, c calendar, n without end, s sliding, p parallel), a, b, limit, amount
--       a, b: f window length, 0; c window start, end; s slice length, window length; else 0, 0
local op, id, ttl, admitted_at = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local claims = #KEYS - 1
local KEEP_MS = 3600000 -- how long an ended hold is remembered

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function int(x)
    return string.format('%.0f', x)
end

local function claim(i)
    local p = 5 * i
    return {key = KEYS[i + 1], member = id .. '/' .. i, kind = ARGV[p], a = tonumber(ARGV[p + 1]),
            b = tonumber(ARGV[p + 2]), limit = tonumber(ARGV[p + 3]), amount = tonumber(ARGV[p + 4])}
end

-- A look at a counter as it is at time t. All set c.window (what a hold remembers), c.used, c.reset,
-- and all but parallel c.past: t lies before the window.

local function look_period(c, t)
    local h = redis.call('HMGET', c.key, 's', 'e', 'u', 'r')
    local s, e, used = tonumber(h[1]), tonumber(h[2]), tonumber(h[3])
    c.past, c.fresh, c.rolled = false, false, s and 1 or 0
    if c.kind ~= 'f' then
        if not s or s < c.a then
            s, e, used, c.fresh = c.a, c.b, 0, true
        else
            c.past = c.a < s
        end
    elseif not s then
        s, e, used, c.fresh = t, t + c.a, 0, true
    elseif t >= e then
        s = s + math.floor((t - s) / c.a) * c.a
        e, used, c.fresh = s + c.a, 0, true
    else
        c.past = t < s and h[4] == '1' -- before the first window there is none
    end
    c.window, c.window_end, c.used = s, e, used
    c.reset = math.max(0, e - now)
end

-- The first moment at which a slice counts no more.
local function gone(c, slice)
    return (slice + 1) * c.a + c.b - 1
end

local function look_sliding(c, t)
    c.window = math.floor(t / c.a)
    c.past = gone(c, c.window) <= now
    c.used, c.reset, c.slices, c.stale = 0, 0, {}, {}
    local h = redis.call('HGETALL', c.key)
    for i = 1, #h, 2 do
        local slice, used = tonumber(h[i]), tonumber(h[i + 1])
        if gone(c, slice) > now then
            c.used = c.used + used
            c.slices[#c.slices + 1] = {slice, used}
        else
            c.stale[#c.stale + 1] = h[i]
        end
    end
    table.sort(c.slices, function(x, y) return x[1] < y[1] end)
    for _, s in ipairs(c.slices) do
        if s[2] > 0 then
            c.reset = gone(c, s[1]) - now
        end
    end
end

local function look_parallel(c)
    redis.call('ZREMRANGEBYSCORE', c.key, '-inf', int(now))
    c.window, c.reset, c.used = 0, 0, redis.call('ZCARD', c.key)
end

local function look(c, t)
    if c.kind == 'p' then
        look_parallel(c)
    elseif c.kind == 's' then
        look_sliding(c, t)
    else
        look_period(c, t)
    end
end

-- How long until `wanted` fits if nothing else comes; -1: never.
local function retry_after(c, wanted)
    if wanted > c.limit then
        return -1
    end
    if c.kind == 'n' then
        return -1
    end
    if c.kind ~= 's' then
        return c.reset
    end
    local excess = c.used + wanted - c.limit
    for _, s in ipairs(c.slices) do
        excess = excess - s[2]
        if excess <= 0 then
            return gone(c, s[1]) - now
        end
    end
    return 0
end

-- Adds to the window that was looked at. `opened`: keys whose new window this call began already.

local function add_period(c, opened)
    if c.fresh and not opened[c.key] then
        opened[c.key] = true
        redis.call('HSET', c.key, 's', int(c.window), 'e', int(c.window_end),
                   'u', int(c.amount), 'r', c.rolled)
        if c.kind ~= 'n' then
            redis.call('PEXPIREAT', c.key, int(math.max(now, c.window_end) + ttl))
        end
    else
        redis.call('HINCRBY', c.key, 'u', int(c.amount))
    end
end

local function add_sliding(c)
    if #c.stale > 0 then
        redis.call('HDEL', c.key, unpack(c.stale))
    end
    if redis.call('HINCRBY', c.key, int(c.window), int(c.amount)) == c.amount then
        redis.call('PEXPIRE', c.key, int(c.a + c.b + ttl))
    end
end

local function add(c, opened)
    if c.kind == 'p' then
        redis.call('ZADD', c.key, int(now + ttl), c.member)
        redis.call('PEXPIRE', c.key, int(ttl))
    elseif c.kind == 's' then
        add_sliding(c)
    else
        add_period(c, opened)
    end
end

-- A hold as {deadline, window, amount, window, amount, …}; nil if there is none, and 'done' or nil.
local function read_hold()
    local text = redis.call('GET', KEYS[1])
    if not text or text == 'done' then
        return nil, text
    end
    local hold = {}
    for number in string.gmatch(text, '%S+') do
        hold[#hold + 1] = tonumber(number)
    end
    return hold
end

local function write_hold(hold)
    for i = 1, #hold do
        hold[i] = int(hold[i])
    end
    redis.call('SET', KEYS[1], table.concat(hold, ' '), 'PX', int(ttl + KEEP_MS))
end

local function held(hold)
    return hold and hold[1] > now
end

local function reserve()
    local hold, done = read_hold()
    if done then
        return {2}
    end
    local again = held(hold)
    local all, wanted, reply = {}, {}, {1, 0}
    for i = 1, claims do
        local c = claim(i)
        all[i] = c
        look(c, now)
        c.retry = 0
        if not again then
            wanted[c.key] = (wanted[c.key] or 0) + c.amount
            if reply[1] == 1 and c.used + wanted[c.key] > c.limit then
                reply = {0, i - 1}
                c.retry = retry_after(c, wanted[c.key])
            end
        end
    end
    local admitted = reply[1] == 1
    for _, c in ipairs(all) do
        local used = c.used
        if admitted and not again then
            used = used + wanted[c.key]
            if c.kind == 's' and c.amount > 0 then
                c.reset = gone(c, c.window) - now
            end
        end
        reply[#reply + 1] = used
        reply[#reply + 1] = c.reset
        reply[#reply + 1] = c.retry
    end
    if admitted and not again then
        local opened = {}
        hold = {now + ttl}
        for _, c in ipairs(all) do
            add(c, opened)
            hold[#hold + 1] = c.window
            hold[#hold + 1] = c.amount
        end
        write_hold(hold)
    end
    return reply
end

-- Replaces what is held by the actual amounts, each in the window of the hold if that still counts.
local function replace(hold)
    for i = 1, claims do
        local c = claim(i)
        local window, difference = hold[2 * i], c.amount - hold[2 * i + 1]
        if c.kind == 'p' then
            redis.call('ZREM', c.key, c.member)
        elseif difference ~= 0 and c.kind == 's' then
            local slice = int(window)
            if gone(c, window) > now and redis.call('HEXISTS', c.key, slice) == 1 then
                redis.call('HINCRBY', c.key, slice, int(difference))
            end
        elseif difference ~= 0 and tonumber(redis.call('HGET', c.key, 's')) == window then
            redis.call('HINCRBY', c.key, 'u', int(difference))
        end
    end
end

local function settle()
    local hold = read_hold()
    if not hold then
        return 0
    end
    redis.call('DEL', KEYS[1])
    if not held(hold) then
        return 0
    end
    replace(hold)
    return 1
end

local function charge()
    local hold, done = read_hold()
    if done then
        return 0
    end
    redis.call('SET', KEYS[1], 'done', 'PX', int(KEEP_MS))
    if held(hold) then
        replace(hold)
        return 1
    elseif hold then
        return 0 -- lapsed: charged as held
    end
    local opened = {}
    for i = 1, claims do
        local c = claim(i)
        if c.kind ~= 'p' and c.amount > 0 then
            look(c, math.min(admitted_at, now))
            if not c.past then
                add(c, opened)
            end
        end
    end
    return 1
end

local function renew()
    local hold = read_hold()
    if not held(hold) then
        return 0
    end
    hold[1] = now + ttl
    write_hold(hold)
    for i = 1, claims do
        local c = claim(i)
        if c.kind == 'p' then
            redis.call('ZADD', c.key, 'XX', int(now + ttl), c.member)
            redis.call('PEXPIRE', c.key, int(ttl))
        end
    end
    return 1
end

local ops = {reserve = reserve, settle = settle, charge = charge, renew = renew}
return ops[op]()
)lua";

constexpr size_t kArgumentsPerClaim = 5;

const char* op_name(RedisOp op) noexcept {
    switch (op) {
        case RedisOp::reserve:
            return "reserve";
        case RedisOp::settle:
            return "settle";
        case RedisOp::charge:
            return "charge";
        case RedisOp::renew:
            return "renew";
    }
    return "";
}

void add_window(io::RedisCommand& command, const Claim& claim, int64_t at_ms) {
    const auto add = [&command](const char* kind, int64_t a, int64_t b) {
        command.add(kind).add(a).add(b);
    };
    if (claim.unit == Unit::parallel) {
        return add("p", 0, 0);
    }
    const int64_t length = claim.window.length_ms;
    switch (claim.window.kind) {
        case WindowKind::none:
            return add("n", 0, 0);
        case WindowKind::fixed:
            return add("f", length, 0);
        case WindowKind::sliding:
            return add("s", slice_length(length), length);
        case WindowKind::day:
        case WindowKind::week:
        case WindowKind::month: {
            const Period period = period_at(claim.window, at_ms, at_ms);
            return add("c", period.start_ms, period.end_ms);
        }
    }
}

// The three numbers of a claim in the answer to reserve.
bool decode_state(const redisReply& reply, size_t first, CounterState& state) noexcept {
    for (size_t i = first; i < first + 3; ++i) {
        if (reply.element[i]->type != REDIS_REPLY_INTEGER) {
            return false;
        }
    }
    state = {reply.element[first]->integer, reply.element[first + 1]->integer,
             reply.element[first + 2]->integer};
    return true;
}

}  // namespace

std::string_view redis_script() noexcept {
    return kScript;
}

const std::string& redis_script_sha() {
    static const std::string sha = [] {
        std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
        SHA1(reinterpret_cast<const unsigned char*>(kScript.data()), kScript.size(), digest.data());
        std::string hex;
        for (const unsigned char byte : digest) {
            hex.append(1, "0123456789abcdef"[byte >> 4]).append(1, "0123456789abcdef"[byte & 15]);
        }
        return hex;
    }();
    return sha;
}

io::RedisCommand encode(const RedisCall& call) {
    const size_t claims = call.claims.size();
    const std::string id = llm::to_string(call.id);
    std::string key(call.prefix);

    io::RedisCommand command(3 + 1 + claims + 4 + kArgumentsPerClaim * claims);
    command.add("EVALSHA").add(redis_script_sha()).add(static_cast<int64_t>(claims + 1));
    command.add(key.append("hold:").append(id));
    for (const Claim& claim : call.claims) {
        command.add(key.assign(call.prefix).append(claim.counter->name));
    }
    command.add(op_name(call.op)).add(id).add(call.hold_ttl_ms).add(call.at_ms);
    for (size_t i = 0; i < claims; ++i) {
        add_window(command, call.claims[i], call.at_ms);
        command.add(call.claims[i].limit).add(call.amounts[i]);
    }
    return command;
}

RedisVerdict decode_reserve(const redisReply& reply, size_t claims, Decision& decision) noexcept {
    decision = {};
    if (reply.type != REDIS_REPLY_ARRAY || reply.elements == 0 ||
        reply.element[0]->type != REDIS_REPLY_INTEGER) {
        return RedisVerdict::no_answer;
    }
    if (reply.element[0]->integer == 2) {
        return RedisVerdict::void_id;
    }
    if (reply.elements != 2 + 3 * claims || claims > kMaxClaims) {
        return RedisVerdict::no_answer;
    }
    for (size_t i = 0; i < claims; ++i) {
        if (!decode_state(reply, 2 + 3 * i, decision.states[i])) {
            return RedisVerdict::no_answer;
        }
    }
    if (reply.element[0]->integer == 0) {
        decision.outcome = Outcome::denied;
        decision.denied_claim = static_cast<size_t>(reply.element[1]->integer);
        return decision.denied_claim < claims ? RedisVerdict::denied : RedisVerdict::no_answer;
    }
    decision.outcome = Outcome::admitted;
    decision.held = true;
    return RedisVerdict::admitted;
}

}  // namespace ledger
