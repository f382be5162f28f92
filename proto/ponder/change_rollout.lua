-- Replaces a rollout if nobody did since it was read. Called by ponder/classifiers.py; both keys carry
-- the hash tag {model}.
--
-- KEYS  1 rollout (hash)   2 history (list, newest first)
-- ARGV  1 revision that was read   2 line for the history   3 most lines
--       4... pairs of field and value: the whole record
-- Returns 1 when replaced, 0 when the revision is another by now.

local found = tonumber(redis.call('HGET', KEYS[1], 'revision') or '') or 0
if found ~= tonumber(ARGV[1]) then
  return 0
end
-- A script that fails half-way is not undone, so nothing is written unless both keys can be.
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'none' and kind ~= 'list' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is a ' .. kind)
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('LPUSH', KEYS[2], ARGV[2])
redis.call('LTRIM', KEYS[2], 0, ARGV[3] - 1)
return 1
