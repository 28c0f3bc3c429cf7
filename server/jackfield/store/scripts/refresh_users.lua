#!lua flags=allow-oom
-- Enter connections with their users, or refresh them. Also when memory is full.
-- KEYS: for each connection its user's sorted set. ARGV: ttl in ms, then for each its member.
local ttl = ARGV[1]
for i, user in ipairs(KEYS) do
  redis.call('ZADD', user, now + ttl, ARGV[i + 1])
  redis.call('PEXPIRE', user, ttl)
end
