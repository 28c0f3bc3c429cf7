#!lua
-- Write connections of one node whole, and enter them with their users.
-- KEYS: the node's index, then the connections' hashes, then sorted sets of users.
-- ARGV: '1' to replace those that are there or '' to leave them, their ttl in ms, the index's, and
-- how many they are; then for each its id, its user, how many values follow, and fields and values
-- in turn; then for each sorted set its member.
local index, replace, ttl, index_ttl = KEYS[1], ARGV[1] == '1', ARGV[2], ARGV[3]
local last, arg, seen_at = 1 + ARGV[4], 5, seconds(now)
for i = 2, last do
  local connection, id, user, first = KEYS[i], ARGV[arg], ARGV[arg + 1], arg + 3
  arg = first + ARGV[arg + 2]
  if replace or redis.call('EXISTS', connection) == 0 then
    redis.call('DEL', connection)
    redis.call('HSET', connection, 'user', user, 'seen_at', seen_at)
    for field = first, arg - 1, 2 do
      redis.call('HSET', connection, ARGV[field], ARGV[field + 1])
    end
    redis.call('PEXPIRE', connection, ttl)
    redis.call('HSET', index, id, user)
  end
end
redis.call('PEXPIRE', index, index_ttl)
for i = last + 1, #KEYS do
  redis.call('ZADD', KEYS[i], now + ttl, ARGV[arg])
  redis.call('PEXPIRE', KEYS[i], ttl)
  arg = arg + 1
end
