#!lua
-- Change fields of a connection, if it is there: a hash made here would have no ttl.
-- KEYS: the connection's hash. ARGV: how many fields to remove, those, then fields and values.
-- Returns whether it is there.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local removed = tonumber(ARGV[1])
for i = 2, removed + 1 do
  redis.call('HDEL', KEYS[1], ARGV[i])
end
for i = removed + 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
