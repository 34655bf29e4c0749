#include <openssl/sha.h>

#include "ledger/redis_script.hpp"

namespace ledger {

namespace {

// Made to be cheap: one read for all keys, one write per counter, numbers packed and not printed.
// t/test_redis_script.py reads the source from here.
constexpr std::string_view kScript = R"lua(
-- KEYS: the hold, the worker's lease, the epoch, then one counter per claim, all different.
-- ARGV: the operation, time to live of holds, of leases, worker, time of the admission, then packed
--       doubles, five per claim: kind, a, b, limit or held amount, amount
--       kind, a, b: 1 fixed: length, 0; 2 calendar: start and end of the window; 3 without end: 0, 0;
--                   4 sliding: length of a slice, of the window; 5 parallel: 0, 0
--       Of those who have epochs also: the epoch to settle in, or 0, and a letter per claim, m: money
local FIXED, ENDLESS, SLIDING, PARALLEL = 1, 3, 4, 5
local SLICES = 12           -- in a sliding window; one more is kept
local KEEP_MS = '86400000'  -- how long an ended hold is remembered
local CLOCK_STEP_MS = 60000 -- clocks of nodes differ by less
local call, pack, parse, floor, max = redis.call, struct.pack, struct.unpack, math.floor, math.max

local worker, n = tonumber(ARGV[4]), #KEYS - 3
local claims = {parse('<' .. string.rep('ddddd', n), ARGV[6])}
local values = call('MGET', unpack(KEYS))
local hold, epoch = values[1], ARGV[7] and tonumber(values[3] or nil) or 0

-- Where a sliding counter keeps an older slice than the newest.
local function place(slice)
    return 24 + 8 * (slice % SLICES)
end

-- `actual` takes the place of what was held in a window, if that still counts.
local function replace(key, kind, value, window, held, actual)
    if kind == SLIDING then
        local newest, sum, current = parse('<ddd', value)
        if window == newest then
            local new = max(current - held, 0) + actual
            call('SETRANGE', key, 8, pack('<dd', sum - current + new, new))
        elseif window < newest and newest - window <= SLICES then
            local at = place(window)
            local old = parse('<d', value, at + 1)
            local new = max(old - held, 0) + actual
            call('SETRANGE', key, 8, pack('<d', sum - old + new))
            call('SETRANGE', key, at, pack('<d', new))
        end
    elseif kind == PARALLEL then -- the window is the lease
        for at = 9, #value, 24 do
            local owner, lease, slots = parse('<ddd', value, at)
            if owner == worker and lease == window then
                call('SETRANGE', key, at + 15, pack('<d', max(slots - held, 0) + actual))
                return
            end
        end
    else
        local current, _, used = parse('<ddd', value)
        if current == window then
            call('SETRANGE', key, 16, pack('<d', max(used - held, 0) + actual))
        end
    end
end

if ARGV[1] == 'settle' then
    if hold == 'done' then
        return 0
    end
    call('PSETEX', KEYS[1], KEEP_MS, 'done')
    if ARGV[7] and tonumber(ARGV[7]) ~= epoch then -- money of another epoch comes by Postgres
        for i = 1, n do
            claims[5 * i] = ARGV[8]:sub(i, i) == 'm' and 0 or claims[5 * i]
        end
    end
    if hold then
        local windows = {parse('<' .. string.rep('d', n), hold)}
        for i = 1, n do
            local held, actual = claims[5 * i - 1], claims[5 * i]
            if actual ~= held and values[i + 3] then
                replace(KEYS[i + 3], claims[5 * i - 4], values[i + 3], windows[i], held, actual)
            end
        end
        return 1
    end
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = floor(now_us / 1000)
local hold_ttl = tonumber(ARGV[2])

-- Each of these looks at a counter as it is at time t and returns: used, reset, the window that an
-- amount goes to (what a hold remembers), and what to write to add it: offset and bytes, or without
-- an offset the whole value and its time to live; and whether t lies before that window.

local function look_period(value, kind, a, b, amount, t)
    local s, e, used, rolled, fresh, taken = nil, nil, 0, 0, not value, ''
    if value then
        s, e, used, rolled = parse('<dddd', value)
    end
    local past = false
    local begins_later = s and s > now + CLOCK_STEP_MS -- a clock was wrong: used stays
    if begins_later then
        taken = value:sub(33)
    end
    if kind ~= FIXED then
        if not s or s < a then
            s, e, used, fresh = a, b, 0, true
        elseif begins_later and a < s then
            s, e, fresh = a, b, true
        end
        past = a < s
    elseif not s or begins_later then
        s, e, fresh = t, t + a, true
    elseif t >= e then
        s = s + floor((t - s) / a) * a
        e, used, rolled, fresh = s + a, 0, 1, true
    else
        past = t < s and rolled == 1 -- before the first window there is none
    end
    local sum, reset = max(used + amount, 0), max(0, e - now)
    if fresh then
        local ttl = kind ~= ENDLESS and reset + hold_ttl or nil
        return used, reset, s, nil, pack('<dddd', s, e, sum, rolled) .. taken, ttl, past
    end
    return used, reset, s, 16, pack('<d', sum), nil, past
end

-- Sliding: the newest slice, the sum of all that are kept, the amount of the newest, then of the
-- older ones in a ring, each at slice % SLICES + 1.

local function ring_of(value)
    local ring = {parse('<dddddddddddd', value, 25)}
    ring[SLICES + 1] = nil -- where parse stopped
    return ring
end

-- Newest slice, sum, amount of the newest, as of now; and the ring, if that is not what is stored.
local function view_sliding(value, a)
    local present = floor(now / a)
    if not value then
        return present, 0, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
    end
    local newest, sum, current = parse('<ddd', value)
    if present == newest or present < newest and newest - present <= SLICES then
        return newest, sum, current
    elseif present < newest then -- the clock was set back: all of it counts as of now
        return present, sum, sum, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
    end
    local ring = ring_of(value)
    for slice = max(newest, present - SLICES), present - 1 do
        local at = slice % SLICES + 1
        sum, ring[at] = sum - ring[at], 0
    end
    if newest >= present - SLICES then
        ring[newest % SLICES + 1] = current
    else
        sum = sum - current
    end
    return present, sum, 0, ring
end

-- The first moment at which a slice counts no more.
local function gone(slice, a, b)
    return (slice + 1) * a + b - 1
end

-- Calls f(slice, amount) for older slices, from the oldest that is kept on, for as long as it returns
-- true.
local function each_older(value, ring, newest, f)
    ring = ring or ring_of(value)
    for slice = newest - SLICES, newest - 1 do
        if not f(slice, ring[slice % SLICES + 1]) then
            return
        end
    end
end

-- What of the sum counts no more.
local function outside(value, ring, newest, a, b)
    local first, sum = floor((now - b + 1) / a), 0
    if first > newest - SLICES then
        each_older(value, ring, newest, function(slice, amount)
            if slice >= first then
                return false
            end
            sum = sum + amount
            return true
        end)
    end
    return sum
end

local function whole_sliding(newest, sum, current, ring)
    return pack('<ddddddddddddddd', newest, sum, current, unpack(ring))
end

local function look_sliding(value, a, b, amount)
    local newest, sum, current, ring = view_sliding(value, a)
    local used = sum - outside(value, ring, newest, a, b)
    if ring then
        local bytes = whole_sliding(newest, sum + amount, current + amount, ring)
        return used, 0, newest, nil, bytes, a + b + hold_ttl
    end
    return used, 0, newest, 8, pack('<dd', sum + amount, current + amount)
end

local function charge_sliding(key, value, a, b, amount, t)
    local newest, sum, current, ring = view_sliding(value, a)
    local window = math.min(floor(t / a), newest)
    if window < newest - SLICES or gone(window, a, b) <= now then
        return
    end
    ring = ring or ring_of(value)
    if window == newest then
        local new = max(current + amount, 0)
        sum, current = sum - current + new, new
    else
        local at = window % SLICES + 1
        local new = max(ring[at] + amount, 0)
        sum, ring[at] = sum - ring[at] + new, new
    end
    call('PSETEX', key, a + b + hold_ttl, whole_sliding(newest, sum, current, ring))
end

-- Until a sliding counter is at zero if nothing else comes.
local function reset_sliding(value, a, b)
    local newest, _, current, ring = view_sliding(value, a)
    local last = current > 0 and newest or nil
    if not last then
        each_older(value, ring, newest, function(slice, amount)
            last = amount > 0 and slice or last
            return true
        end)
    end
    return last and max(0, gone(last, a, b) - now) or 0
end

local function retry_sliding(value, a, b, excess)
    local newest, _, _, ring = view_sliding(value, a)
    local first, last = floor((now - b + 1) / a), newest
    each_older(value, ring, newest, function(slice, amount)
        if slice >= first then
            excess = excess - amount
            last = slice
        end
        return excess > 0
    end)
    return gone(excess > 0 and newest or last, a, b) - now
end

-- A parallel counter: when its time to live was set, then per worker its number, the lease that it
-- took its slots under, how many. What another lease than the worker's present one took is free.

local lease = tonumber(values[2] or nil) or now_us

-- The slots of other workers that live, and their sum.
local function others(value)
    local prefix, living, used = string.match(KEYS[2], '^(.*:)'), {}, 0
    for at = 9, #value, 24 do
        local owner, its_lease, slots = parse('<ddd', value, at)
        if owner ~= worker and slots > 0 then
            local key = prefix .. string.format('%.0f', owner)
            if tonumber(call('GET', key) or nil) == its_lease then
                living[#living + 1] = string.sub(value, at, at + 23)
                used = used + slots
            end
        end
    end
    return table.concat(living), used
end

local function look_parallel(value, limit, amount)
    local used, mine, mine_at = 0, 0, nil
    for at = 9, value and #value or 0, 24 do
        local owner, its_lease, slots = parse('<ddd', value, at)
        if owner ~= worker then
            used = used + slots
        elseif its_lease == lease then
            used, mine, mine_at = used + slots, slots, at + 15
        end
    end
    if mine_at and used + amount <= limit and math.abs(now - parse('<d', value)) < hold_ttl / 4 then
        return used, 0, lease, mine_at, pack('<d', mine + amount)
    end
    local living, theirs = others(value or '')
    local bytes = pack('<dddd', now, worker, lease, mine + amount) .. living
    return mine + theirs, 0, lease, nil, bytes, hold_ttl
end

local function write(key, at, bytes, ttl)
    if at then
        call('SETRANGE', key, at, bytes)
    elseif ttl then
        call('PSETEX', key, ttl, bytes)
    else
        call('SET', key, bytes)
    end
end

if ARGV[1] == 'settle' then -- without a hold
    local t = math.min(tonumber(ARGV[5]), now)
    for i = 1, n do
        local kind, a, b, _, amount = unpack(claims, 5 * i - 4, 5 * i)
        if kind == SLIDING and amount ~= 0 then
            charge_sliding(KEYS[i + 3], values[i + 3], a, b, amount, t)
        elseif kind ~= PARALLEL and amount ~= 0 then
            local _, _, _, at, bytes, ttl, past = look_period(values[i + 3], kind, a, b, amount, t)
            if not past then
                write(KEYS[i + 3], at, bytes, ttl)
            end
        end
    end
    return 1
end

-- How long until the amount of a claim fits if nothing else comes; -1: never.
local function retry_after(i, used, reset)
    local kind, a, b, limit, amount = unpack(claims, 5 * i - 4, 5 * i)
    if amount > limit or kind == ENDLESS then
        return -1
    elseif kind == SLIDING then
        return retry_sliding(values[i + 3], a, b, used + amount - limit)
    end
    return reset
end

-- Reserve answers packed doubles: 2 (this request has ended), 3 (the counters of the epoch are not
-- there yet), or 0 (denied) or 1 (admitted), the index of the claim that did not fit, its retry time,
-- the time in us, the epoch, then three per claim: used, reset, and the window that it was looked at in.
if hold == 'done' then
    return pack('<d', 2)
elseif ARGV[7] and epoch == 0 then
    return pack('<d', 3)
end
local verdict, denied, retry = 1, 0, 0
-- Made large at once. What is written, where and for how long waits until all have fitted.
local windows, offsets = {0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}
local bytes, ttls = {0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}
local states = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
local at = 1
for i = 1, n do
    local kind, a, b, limit, amount = claims[at], claims[at + 1], claims[at + 2], claims[at + 3], claims[at + 4]
    local used, reset
    if kind == SLIDING then
        used, reset, windows[i], offsets[i], bytes[i], ttls[i] = look_sliding(values[i + 3], a, b, amount)
    elseif kind == PARALLEL then
        used, reset, windows[i], offsets[i], bytes[i], ttls[i] = look_parallel(values[i + 3], limit, amount)
    else
        used, reset, windows[i], offsets[i], bytes[i], ttls[i] = look_period(values[i + 3], kind, a, b, amount, now)
    end
    if verdict == 1 and not hold and used + amount > limit then
        verdict, denied, retry = 0, i - 1, retry_after(i, used, reset)
    end
    states[3 * i - 2], states[3 * i - 1], states[3 * i] = used, reset, windows[i]
    at = at + 5
end

local admits = verdict == 1 and not hold
local wants_lease = false
for i = 1, n do
    local kind, amount = claims[5 * i - 4], claims[5 * i]
    if admits then
        write(KEYS[i + 3], offsets[i], bytes[i], ttls[i])
        states[3 * i - 2] = states[3 * i - 2] + amount
        wants_lease = wants_lease or kind == PARALLEL
    end
    if kind == SLIDING then
        local a, b = claims[5 * i - 3], claims[5 * i - 2]
        states[3 * i - 1] = admits and amount > 0 and gone(windows[i], a, b) - now
            or reset_sliding(values[i + 3], a, b)
    end
end
if admits then
    if wants_lease and not values[2] then
        call('PSETEX', KEYS[2], ARGV[3], string.format('%.0f', lease))
    end
    call('PSETEX', KEYS[1], ARGV[2], pack('<' .. string.rep('d', n), unpack(windows, 1, n)))
end
return pack('<ddddd' .. string.rep('ddd', n), verdict, denied, retry, now_us, epoch,
    unpack(states, 1, 3 * n))
)lua";

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

}  // namespace ledger
