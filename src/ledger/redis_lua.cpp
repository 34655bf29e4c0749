#include <openssl/sha.h>

#include "ledger/redis_script.hpp"

namespace ledger {

namespace {

// Made to be cheap: one read for all keys, one write per counter, numbers packed and not printed.
// t/test_redis_script.py reads the source from here.
constexpr std::string_view kScript = R"lua(
-- KEYS: the hold, the worker's lease, then one counter per claim, all different.
-- ARGV: the operation, time to live of holds, of leases, worker, time of the admission, then packed
--       doubles, five per claim: kind, a, b, limit or held amount, amount
--       kind, a, b: 1 fixed: length, 0; 2 calendar: start and end of the window; 3 without end: 0, 0;
--                   4 sliding: length of a slice, of the window; 5 parallel: 0, 0
local FIXED, ENDLESS, SLIDING, PARALLEL = 1, 3, 4, 5
local SLICES = 12           -- in a sliding window; one more is kept
local KEEP_MS = '86400000'  -- how long an ended hold is remembered
local CLOCK_STEP_MS = 60000 -- clocks of nodes differ by less
local call, pack, parse, floor, max = redis.call, struct.pack, struct.unpack, math.floor, math.max

local hold_ttl, worker, claims = tonumber(ARGV[2]), tonumber(ARGV[4]), #KEYS - 2
local values = call('MGET', unpack(KEYS))
local hold = values[1]

local function claim(i)
    return parse('<ddddd', ARGV[6], 40 * i - 39)
end

-- Where a sliding counter keeps a slice, counted from one: behind the number of the newest one.
local function place(slice)
    return 2 + slice % (SLICES + 1)
end

-- Where a parallel counter keeps the number of slots that this worker took under a lease.
local function slots_at(value, lease)
    for at = 9, #value, 24 do
        local owner, its_lease = parse('<dd', value, at)
        if owner == worker and its_lease == lease then
            return at + 15
        end
    end
end

-- Where a counter keeps the amount of a window; nil if that counts no more.
local function amount_at(kind, value, window)
    if kind == PARALLEL then
        return slots_at(value, window)
    end
    local current = parse('<d', value)
    if kind == SLIDING then
        local age = current - window
        return age >= 0 and age <= SLICES and 8 * place(window) - 8 or nil
    end
    return current == window and 16 or nil
end

if ARGV[1] == 'settle' then
    if hold == 'done' then
        return 0
    end
    call('PSETEX', KEYS[1], KEEP_MS, 'done')
    for i = 1, hold and claims or 0 do
        local value, kind, _, _, held, actual = values[i + 2], claim(i)
        if value and actual ~= held then
            local at = amount_at(kind, value, parse('<d', hold, 8 * i - 7))
            if at then
                local others = max(parse('<d', value, at + 1) - held, 0)
                call('SETRANGE', KEYS[i + 2], at, pack('<d', others + actual))
            end
        end
    end
    if hold then
        return 1
    end
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = floor(now_us / 1000)

-- Each of these looks at a counter as it is at time t and returns: used, reset, the window that an
-- amount goes to (what a hold remembers), and what to write to add it: offset and bytes, or without
-- an offset the whole value and its time to live; and whether t lies before that window.

local function look_period(value, kind, a, b, amount, t)
    local s, e, used, rolled, fresh = nil, nil, 0, 0, not value
    if value then
        s, e, used, rolled = parse('<dddd', value)
    end
    local past = false
    local begins_later = s and s > now + CLOCK_STEP_MS -- a clock was wrong: used stays
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
        return used, reset, s, nil, pack('<dddd', s, e, sum, rolled), ttl, past
    end
    return used, reset, s, 16, pack('<d', sum), nil, past
end

-- Moves the newest slice to the present and empties what leaves the slots.
local function advance(slots, present)
    local sum = 0
    if present < slots[1] then -- the clock was set back: all of it counts as of now
        for i = 2, SLICES + 2 do
            sum, slots[i] = sum + slots[i], 0
        end
    end
    for slice = max(slots[1] + 1, present - SLICES), present do
        slots[place(slice)] = 0
    end
    slots[1] = present
    slots[place(present)] = slots[place(present)] + sum
end

local function sliding_slots(value, a)
    local present = floor(now / a)
    if not value then
        return {present, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, true
    end
    local slots = {parse('<dddddddddddddd', value)}
    local fresh = present > slots[1] or present < slots[1] - SLICES
    if fresh then
        advance(slots, present)
    end
    return slots, fresh
end

local function oldest(slots, a, b)
    return max(slots[1] - SLICES, floor((now - b + 1) / a))
end

-- The first moment at which a slice counts no more.
local function gone(slice, a, b)
    return (slice + 1) * a + b - 1
end

local function look_sliding(value, a, b, amount, t)
    local slots, fresh = sliding_slots(value, a)
    local newest, used, last = slots[1], 0, nil
    for slice = oldest(slots, a, b), newest do
        local n = slots[place(slice)]
        if n > 0 then
            used, last = used + n, slice
        end
    end
    local reset = last and gone(last, a, b) - now or 0
    local window = t == now and newest or math.min(floor(t / a), newest)
    if window < newest - SLICES or gone(window, a, b) <= now then
        return used, reset, window, nil, nil, nil, true
    end
    local at = place(window)
    local sum = max(slots[at] + amount, 0)
    if fresh then
        slots[at] = sum
        return used, reset, window, nil, pack('<dddddddddddddd', unpack(slots)), a + b + hold_ttl
    end
    return used, reset, window, 8 * at - 8, pack('<d', sum)
end

-- A parallel counter: when its time to live was set, then per worker its number, the lease that it
-- took its slots under, how many. What another lease than the worker's present one took is free.

local lease = tonumber(values[2] or nil) or now_us

-- The slots of other workers that live, and their sum.
local function others(value)
    local prefix, living, used = string.match(KEYS[2], '^(.*:)'), {}, 0
    for at = 9, #value, 24 do
        local owner, its_lease, n = parse('<ddd', value, at)
        if owner ~= worker and n > 0 then
            local key = prefix .. string.format('%.0f', owner)
            if tonumber(call('GET', key) or nil) == its_lease then
                living[#living + 1] = string.sub(value, at, at + 23)
                used = used + n
            end
        end
    end
    return table.concat(living), used
end

local function look_parallel(value, limit, amount)
    local used, mine, mine_at = 0, 0, nil
    for at = 9, value and #value or 0, 24 do
        local owner, its_lease, n = parse('<ddd', value, at)
        if owner ~= worker then
            used = used + n
        elseif its_lease == lease then
            used, mine, mine_at = used + n, n, at + 15
        end
    end
    if mine_at and used + amount <= limit and math.abs(now - parse('<d', value)) < hold_ttl / 4 then
        return used, 0, lease, mine_at, pack('<d', mine + amount)
    end
    local living, theirs = others(value or '')
    local bytes = pack('<dddd', now, worker, lease, mine + amount) .. living
    return mine + theirs, 0, lease, nil, bytes, hold_ttl
end

local function look(value, kind, a, b, limit, amount, t)
    if kind == SLIDING then
        return look_sliding(value, a, b, amount, t)
    elseif kind == PARALLEL then
        return look_parallel(value, limit, amount)
    end
    return look_period(value, kind, a, b, amount, t)
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
    for i = 1, claims do
        local kind, a, b, _, amount = claim(i)
        if kind ~= PARALLEL and amount ~= 0 then
            local t = math.min(tonumber(ARGV[5]), now)
            local _, _, _, at, bytes, ttl, past = look(values[i + 2], kind, a, b, 0, amount, t)
            if not past then
                write(KEYS[i + 2], at, bytes, ttl)
            end
        end
    end
    return 1
end

-- How long until the amount of a claim fits if nothing else comes; -1: never.
local function retry_after(i, used, reset)
    local kind, a, b, limit, amount = claim(i)
    if amount > limit or kind == ENDLESS then
        return -1
    elseif kind ~= SLIDING then
        return reset
    end
    local slots = sliding_slots(values[i + 2], a)
    local slice, excess = oldest(slots, a, b), used + amount - limit
    while excess > slots[place(slice)] do
        excess, slice = excess - slots[place(slice)], slice + 1
    end
    return gone(slice, a, b) - now
end

-- Reserve answers packed doubles: 2 (this request has ended), or 0 (denied) or 1 (admitted), the
-- index of the claim that did not fit, its retry time, the time in us, then two per claim: used and
-- reset.
if hold == 'done' then
    return pack('<d', 2)
end
local verdict, denied, retry = 1, 0, 0
-- Made large at once. What is written, where and for how long waits until all have fitted.
local windows, offsets = {0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}
local bytes, ttls = {0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}
local states = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
for i = 1, claims do
    local kind, a, b, limit, amount = claim(i)
    local used, reset
    used, reset, windows[i], offsets[i], bytes[i], ttls[i] =
        look(values[i + 2], kind, a, b, limit, amount, now)
    if verdict == 1 and not hold and used + amount > limit then
        verdict, denied, retry = 0, i - 1, retry_after(i, used, reset)
    end
    states[2 * i - 1], states[2 * i] = used, reset
end

if verdict == 1 and not hold then
    local wants_lease = false
    for i = 1, claims do
        local kind, a, b, _, amount = claim(i)
        write(KEYS[i + 2], offsets[i], bytes[i], ttls[i])
        states[2 * i - 1] = states[2 * i - 1] + amount
        if kind == SLIDING and amount > 0 then
            states[2 * i] = gone(windows[i], a, b) - now
        end
        wants_lease = wants_lease or kind == PARALLEL
    end
    if wants_lease and not values[2] then
        call('PSETEX', KEYS[2], ARGV[3], string.format('%.0f', lease))
    end
    local format = '<' .. string.rep('d', claims)
    call('PSETEX', KEYS[1], ARGV[2], pack(format, unpack(windows, 1, claims)))
end
return pack('<dddd', verdict, denied, retry, now_us) ..
       pack('<' .. string.rep('dd', claims), unpack(states, 1, 2 * claims))
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
