#!lua flags=allow-oom
-- Note that an agent is there, and forget those that were not for long. Also when memory is full.
-- KEYS: the sorted set of agents. ARGV: the agent, for how many ms one is remembered.
local agents, agent, memory = KEYS[1], ARGV[1], ARGV[2]
redis.call('ZADD', agents, now, agent)
redis.call('ZREMRANGEBYSCORE', agents, 0, now - memory)
redis.call('PEXPIRE', agents, memory)
