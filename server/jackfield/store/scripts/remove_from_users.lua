#!lua flags=allow-oom
-- Remove connections from their users.
-- KEYS: for each connection its user's sorted set. ARGV: for each its member.
for i, user in ipairs(KEYS) do
  redis.call('ZREM', user, ARGV[i])
end
