#!lua flags=allow-oom
-- Remove connections of one node, also from their users.
-- KEYS: the node's index, then the connections' hashes, then sorted sets of users.
-- ARGV: how many they are, their ids, then for each sorted set its member.
local index, last = KEYS[1], 1 + ARGV[1]
redis.call('DEL', unpack(KEYS, 2, last))
redis.call('HDEL', index, unpack(ARGV, 2, last))
for i = last + 1, #KEYS do
  redis.call('ZREM', KEYS[i], ARGV[i])
end
