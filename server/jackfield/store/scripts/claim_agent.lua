#!lua flags=allow-oom
-- Count an agent among those that a user has registered. Also when memory is full.
-- KEYS: the sorted set of the user's agents. ARGV: the agent, for how many ms one is remembered, how many
-- there may be; '' to renew what was counted.
-- Returns 'new' or 'known'; 'full' if there are as many as may be.
local mine, agent, memory, most = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]
redis.call('ZREMRANGEBYSCORE', mine, 0, now - memory)
local word = redis.call('ZSCORE', mine, agent) and 'known' or 'new'
if word == 'new' and most ~= '' and #redis.call('ZRANGE', mine, 0, -1) >= tonumber(most) then
  return 'full'
end
redis.call('ZADD', mine, now, agent)
redis.call('PEXPIRE', mine, memory)
return word
