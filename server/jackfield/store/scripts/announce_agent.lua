#!lua flags=allow-oom
-- Note that an agent is there, and forget those that were not for long. Also when memory is full.
-- KEYS: the sorted set of agents. ARGV: the agent, for how many ms one is remembered.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
