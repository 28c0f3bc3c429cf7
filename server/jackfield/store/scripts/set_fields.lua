#!lua
-- Change fields of a connection, if it is there: a hash made here would have no ttl.
-- KEYS: the connection's hash. ARGV: how many fields to remove, those, then fields and values.
-- Returns whether it is there.
local connection, last = KEYS[1], 1 + ARGV[1]
if redis.call('EXISTS', connection) == 0 then
  return 0
end
for i = 2, last do
  redis.call('HDEL', connection, ARGV[i])
end
for i = last + 1, #ARGV, 2 do
  redis.call('HSET', connection, ARGV[i], ARGV[i + 1])
end
return 1
