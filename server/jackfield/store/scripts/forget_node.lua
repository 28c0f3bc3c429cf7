#!lua flags=allow-oom
-- Remove a node from the set of nodes, unless it has come back.
-- KEYS: the sorted set of nodes. ARGV: the node, how long is too long, in ms.
local time = redis.call('TIME')
local seen = redis.call('ZSCORE', KEYS[1], ARGV[1])
if seen and tonumber(seen) < time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[2] then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
