#!lua flags=allow-oom
-- Remove connections from their users.
-- KEYS: for each connection its user's sorted set. ARGV: for each its member.
for i = 1, #KEYS do
  redis.call('ZREM', KEYS[i], ARGV[i])
end
