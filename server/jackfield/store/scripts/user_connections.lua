#!lua flags=allow-oom
-- A user's connections, without the expired.
-- KEYS: the user's sorted set.
local user = KEYS[1]
redis.call('ZREMRANGEBYSCORE', user, '-inf', now)
return redis.call('ZRANGE', user, 0, -1)
