-- Settles one request exactly once. Called by ponder/ledger.py; all keys carry the hash tag {model}.
--
-- KEYS  1 settled marker (string)   2 totals of the tenant (hash)
--       3 counts of the tenant, this window (hash)   4 counts of all tenants, this window (hash)
--       5 outcomes of the tenant, this window (hash)   6 outcomes of all, this window (hash)
--       7 corrections of the tenant (hash)   8 traces (stream)   9 charges to be made (hash)
--       10 what has changed (sorted set)
-- ARGV  1 usage to keep in the marker   2 life of the marker, s   3 when the window fades, unix s
--       4 most traces   5 life of a trace, s   6 the trace
--       7 predicted bin   8 bins at risk   9 event bin, -1 for none
--       10 tier decided on, 0 when the outcome tells nothing   11 missed, 0 or 1
--       12 expected misses, millionths   13 step of the correction   14 bound of a correction
--       15 share that an unused correction fades by   16 life of unused corrections, s
--       17 name of the charge   18 the charge   19 the name that changes are told by
--       20... pairs of totals field and increment
-- Returns nil when applied, else the usage that was settled before.

local earlier = redis.call('GET', KEYS[1])
if earlier then
  return earlier
end

-- A script that fails half-way is not undone, so nothing is written unless every key can be.
local kinds = {[8] = 'stream', [10] = 'zset'}
for i = 2, 10 do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= (kinds[i] or 'hash') then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. found)
  end
end

redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
for i = 20, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1])
end
-- The plan is in another slot. Whoever settles charges next; if it dies before, this is found.
redis.call('HSET', KEYS[9], ARGV[17], ARGV[18])
redis.call('EXPIRE', KEYS[9], ARGV[2])

-- What is learned must not stop at a field that holds no number: it starts anew.
local function learn(key, field, increment)
  local reply = redis.pcall('HINCRBY', key, field, increment)
  if type(reply) == 'table' and reply.err then
    redis.call('HSET', key, field, increment)
  end
end

local num_at_risk = tonumber(ARGV[8])
if num_at_risk > 0 then
  for key = 3, 4 do
    for bin = 0, num_at_risk - 1 do
      learn(KEYS[key], ARGV[7] .. ':r:' .. bin, 1)
    end
    if tonumber(ARGV[9]) >= 0 then
      learn(KEYS[key], ARGV[7] .. ':n:' .. ARGV[9], 1)
    end
    redis.call('EXPIREAT', KEYS[key], ARGV[3])
  end
end

-- 0 for what is no number within the bounds; NaN is within none.
local bound = tonumber(ARGV[14])
local function correction_of(tier)
  local value = tonumber(redis.call('HGET', KEYS[7], tier) or '0')
  return value and value >= -bound and value <= bound and value or 0
end

local function correct(tier, value)
  value = math.max(-bound, math.min(bound, value))
  redis.call('HSET', KEYS[7], tier, string.format('%.9f', value))
end

local tier = tonumber(ARGV[10])
if tier > 0 then
  for key = 5, 6 do
    learn(KEYS[key], tier .. ':d', 1)
    learn(KEYS[key], tier .. ':m', ARGV[11])
    learn(KEYS[key], tier .. ':e', ARGV[12])
    redis.call('EXPIREAT', KEYS[key], ARGV[3])
  end
  correct(tier, correction_of(tier) + tonumber(ARGV[13]))
  -- A correction that moves every request off a tier gets no more outcomes there. It fades with the
  -- decisions above it, until the tier is tried again.
  for below = 1, tier - 1 do
    local value = correction_of(below)
    if value > 0 then
      correct(below, value * (1 - tonumber(ARGV[15])))
    end
  end
  redis.call('EXPIRE', KEYS[7], ARGV[16])
end

local id = redis.call('XADD', KEYS[8], 'MAXLEN', '~', ARGV[4], '*', 'settlement', ARGV[6])
local now_ms = tonumber(string.match(id, '^%d+'))
local oldest_ms = now_ms - tonumber(ARGV[5]) * 1000
redis.call('XTRIM', KEYS[8], 'MINID', string.format('%.0f', oldest_ms))
redis.call('EXPIRE', KEYS[8], ARGV[5])

-- Told by the times of the traces, which never go back.
if num_at_risk > 0 or tier > 0 then
  redis.call('ZADD', KEYS[10], now_ms, ARGV[19])
  local faded_ms = now_ms - tonumber(ARGV[16]) * 1000
  redis.call('ZREMRANGEBYSCORE', KEYS[10], '-inf', string.format('%.0f', faded_ms))
  redis.call('EXPIRE', KEYS[10], ARGV[16])
end
return nil
