#!lua flags=no-writes
-- The nodes whose last heartbeat is too long ago.
-- KEYS: the sorted set of nodes. ARGV: how long is too long, in ms.
local nodes, silence = KEYS[1], ARGV[1]
return redis.call('ZRANGE', nodes, '-inf', '(' .. string.format('%.0f', now - silence), 'BYSCORE')
