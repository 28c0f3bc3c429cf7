#!lua flags=allow-oom
-- Remove connections of one node.
-- KEYS: the node's index, then the connections' hashes. ARGV: their ids.
redis.call('DEL', unpack(KEYS, 2))
redis.call('HDEL', KEYS[1], unpack(ARGV))
