-- Settles one request exactly once. Called by ponder/ledger.py; all keys carry the hash tag {model}.
--
-- KEYS  1 settled marker (string)   2 totals of the tenant (hash)
--       3 counts of the tenant, this window (hash)   4 counts of all tenants, this window (hash)
--       5 traces (stream)
-- ARGV  1 usage to keep in the marker   2 life of the marker, s   3 when the window fades, unix s
--       4 most traces   5 life of a trace, s   6 the trace
--       7 predicted bin   8 bins at risk   9 event bin, -1 for none
--       10... pairs of totals field and increment
-- Returns nil when applied, else the usage that was settled before.

local earlier = redis.call('GET', KEYS[1])
if earlier then
  return earlier
end

-- A script that fails half-way is not undone, so nothing is written unless every key can be.
local types = {'none', 'hash', 'hash', 'hash', 'stream'}
for i = 2, 5 do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= types[i] then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. found)
  end
end

redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
for i = 10, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1])
end

local num_at_risk = tonumber(ARGV[8])
if num_at_risk > 0 then
  for key = 3, 4 do
    for bin = 0, num_at_risk - 1 do
      redis.call('HINCRBY', KEYS[key], ARGV[7] .. ':r:' .. bin, 1)
    end
    if tonumber(ARGV[9]) >= 0 then
      redis.call('HINCRBY', KEYS[key], ARGV[7] .. ':n:' .. ARGV[9], 1)
    end
    redis.call('EXPIREAT', KEYS[key], ARGV[3])
  end
end

local id = redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[4], '*', 'settlement', ARGV[6])
local now_ms = tonumber(string.match(id, '^%d+'))
local oldest_ms = now_ms - tonumber(ARGV[5]) * 1000
redis.call('XTRIM', KEYS[5], 'MINID', string.format('%.0f', oldest_ms))
redis.call('EXPIRE', KEYS[5], ARGV[5])
return nil
