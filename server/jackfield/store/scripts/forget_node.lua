#!lua flags=allow-oom
-- Remove a node from the set of nodes, unless it has come back.
-- KEYS: the sorted set of nodes. ARGV: the node, how long is too long, in ms.
local nodes, node, silence = KEYS[1], ARGV[1], ARGV[2]
local seen = redis.call('ZSCORE', nodes, node)
if seen and tonumber(seen) < now - silence then
  redis.call('ZREM', nodes, node)
end
