-- Charges what one request has spent to its tenant's plan, once, and ends its reservation if there
-- still is one. Called by ponder/quotas.py; all keys carry the hash tag {tenant:NAME}.
--
-- KEYS  1 quota (hash)   2 reservations (hash)   3 charged marker (string)
-- ARGV  1 name of the reservation   2 tokens spent   3 the month they count in
--       4 life of the marker, s   5 life of the quota, s   6 time, unix ms; empty: the clock of Redis
-- Returns 1 when charged, 0 when the request had been charged before.

-- What Redis keeps may be corrupted, and Lua reads 'nan' and 'inf' as numbers: neither may lift a
-- limit or bar a tenant.
local function finite(text)
  local number = tonumber(text or '')
  return number and math.abs(number) < 2 ^ 53 and number or nil
end

local function count(text)
  return math.max(0, finite(text) or 0)
end

-- A script that fails half-way is not undone, so nothing is written unless every key can be.
for i = 1, 2 do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= 'hash' then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind)
  end
end

redis.call('HDEL', KEYS[2], ARGV[1])
if not redis.call('SET', KEYS[3], ARGV[2], 'NX', 'EX', ARGV[4]) then
  return 0
end

local tokens = tonumber(ARGV[2])
local spent = count(redis.call('HGET', KEYS[1], ARGV[3]))
redis.call('HSET', KEYS[1], ARGV[3], string.format('%.0f', spent + tokens))

-- The bucket as reserve.lua left it, filled up to now: else what it fills while it is full would be
-- set against what is taken out only now.
local level = finite(redis.call('HGET', KEYS[1], 'level'))
local at_ms = finite(redis.call('HGET', KEYS[1], 'at_ms'))
local rate = finite(redis.call('HGET', KEYS[1], 'rate'))
if level and at_ms and rate then
  local now_ms = tonumber(ARGV[6])
  if not now_ms then
    local time = redis.call('TIME')
    now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  local refill = math.floor(math.max(0, now_ms - at_ms) * rate / 60)
  level = math.min(rate * 1000, level + refill) - tokens * 1000
  redis.call('HSET', KEYS[1], 'level', string.format('%.0f', level),
    'at_ms', string.format('%.0f', now_ms))
end
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
