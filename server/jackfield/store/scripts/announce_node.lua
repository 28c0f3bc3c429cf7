#!lua flags=allow-oom
-- Enter a node's heartbeat among those of all nodes.
-- KEYS: the sorted set of nodes. ARGV: the node, the set's ttl in ms.
local nodes, node, ttl = KEYS[1], ARGV[1], ARGV[2]
redis.call('ZADD', nodes, now, node)
redis.call('PEXPIRE', nodes, ttl)
