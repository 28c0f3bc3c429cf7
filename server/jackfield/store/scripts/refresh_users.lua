#!lua flags=allow-oom
-- Enter connections with their users, or refresh them. Also when memory is full.
-- KEYS: for each connection its user's sorted set. ARGV: ttl in ms, then for each its member.
local time = redis.call('TIME')
local expires = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
for i = 1, #KEYS do
  redis.call('ZADD', KEYS[i], expires, ARGV[i + 1])
  redis.call('PEXPIRE', KEYS[i], ARGV[1])
end
