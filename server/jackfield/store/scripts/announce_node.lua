#!lua flags=allow-oom
-- Enter a node's heartbeat among those of all nodes.
-- KEYS: the sorted set of nodes. ARGV: the node, the set's ttl in ms.
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
