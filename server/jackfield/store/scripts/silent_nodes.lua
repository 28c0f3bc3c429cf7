#!lua flags=no-writes
-- The nodes whose last heartbeat is too long ago.
-- KEYS: the sorted set of nodes. ARGV: how long is too long, in ms.
local time = redis.call('TIME')
local limit = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]
return redis.call('ZRANGE', KEYS[1], '-inf', '(' .. string.format('%.0f', limit), 'BYSCORE')
