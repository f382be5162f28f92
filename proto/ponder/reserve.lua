-- Keeps tokens and a place for one request out of a tenant's plan, or says what is lacking. Called by
-- ponder/quotas.py; both keys carry the hash tag {tenant:NAME}.
--
-- KEYS  1 quota (hash)   2 reservations (hash)
-- ARGV  1 name of the reservation   2 tokens to keep   3 its life, ms   4 tokens per minute
--       5 tokens per month   6 requests at once   7 the month   8 life of the quota, s
--       9 time, unix ms; empty: the clock of Redis
-- A limit of 0 is none. Returns {what is lacking, tokens available, ms until it suffices}; lacking is
-- empty when the tokens are kept, and the time -1 when it is not known here.
--
-- A bucket fills by the tokens per minute and never holds more than one minute's; what is settled is
-- taken out of it, below zero if need be. A reservation takes nothing out: it only stands between the
-- bucket and the next request, so that its end, by settlement, release or time, can be no double one.

-- What Redis keeps may be corrupted, and Lua reads 'nan' and 'inf' as numbers: neither may lift a
-- limit or bar a tenant.
local function finite(text)
  local number = tonumber(text or '')
  return number and math.abs(number) < 2 ^ 53 and number or nil
end

local function count(text)
  return math.max(0, finite(text) or 0)
end

local tokens, rate = tonumber(ARGV[2]), tonumber(ARGV[4])
local per_month, concurrency = tonumber(ARGV[5]), tonumber(ARGV[6])
local now_ms = tonumber(ARGV[9])
if not now_ms then
  local time = redis.call('TIME')
  now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
end

local kept, running, last_ms = 0, 0, now_ms + tonumber(ARGV[3])
local found = redis.call('HGETALL', KEYS[2])
for i = 1, #found, 2 do
  local ends_ms, held = string.match(found[i + 1], '^(%d+) (%d+)$')
  ends_ms, held = finite(ends_ms), finite(held)
  if not ends_ms or not held or ends_ms <= now_ms then
    redis.call('HDEL', KEYS[2], found[i])
  elseif found[i] ~= ARGV[1] then
    kept, running, last_ms = kept + held, running + 1, math.max(last_ms, ends_ms)
  end
end
if concurrency > 0 and running >= concurrency then
  return {'concurrency', 0, -1}
end

if rate > 0 then
  -- In thousandths of a token: rate / 60 of them come each ms.
  local full = rate * 1000
  local level = finite(redis.call('HGET', KEYS[1], 'level'))
  local at_ms = finite(redis.call('HGET', KEYS[1], 'at_ms'))
  if level and at_ms then
    level = math.min(full, level + math.floor(math.max(0, now_ms - at_ms) * rate / 60))
  else
    level = full
  end
  local available = level - kept * 1000
  -- Who wants more than a minute's waits for the full bucket, and then may owe.
  local wanted = math.min(tokens * 1000, full)
  if tokens > 0 and wanted > available then
    local wait_ms = math.ceil((wanted - available) * 60 / rate)
    return {'tokens_per_minute', math.max(0, math.floor(available / 1000)), wait_ms}
  end
  redis.call('HSET', KEYS[1], 'level', string.format('%.0f', level),
    'at_ms', string.format('%.0f', now_ms), 'rate', ARGV[4])
  redis.call('EXPIRE', KEYS[1], ARGV[8])
end

if per_month > 0 then
  local spent = count(redis.call('HGET', KEYS[1], ARGV[7]))
  local left = per_month - spent - kept
  if tokens > 0 and tokens > left then
    return {'tokens_per_month', math.max(0, left), -1}
  end
end

redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f %s', now_ms + tonumber(ARGV[3]), ARGV[2]))
redis.call('PEXPIREAT', KEYS[2], string.format('%.0f', last_ms))
return {'', 0, 0}
