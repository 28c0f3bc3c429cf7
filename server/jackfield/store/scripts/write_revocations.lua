#!lua flags=allow-oom
-- Enter revocations, and drop those that have ended. Also when memory is full.
-- An entry is "<since> <until> <target>", in ms. Those of one call have one score, which is higher
-- than that of any before: so whoever knows one score knows all up to it.
-- KEYS: the entries by that score, the entries by their end. ARGV: for how long in ms, then targets
-- that are revoked from now on; or 0, then entries that were here before.
local entries, ends, lifetime = KEYS[1], KEYS[2], tonumber(ARGV[1])
local newest = tonumber(redis.call('ZRANGE', entries, -1, -1, 'WITHSCORES')[2] or 0)
local score = string.format('%.0f', math.max(now, newest + 1))
for i = 2, #ARGV do
  local entry = ARGV[i]
  if lifetime > 0 then
    entry = string.format('%.0f %.0f %s', now, now + lifetime, entry)
  end
  redis.call('ZADD', entries, score, entry)
  redis.call('ZADD', ends, string.match(entry, '^%d+ (%d+) '), entry)
end
for _, entry in ipairs(redis.call('ZRANGE', ends, '-inf', string.format('%.0f', now), 'BYSCORE')) do
  redis.call('ZREM', entries, entry)
  redis.call('ZREM', ends, entry)
end
local last = redis.call('ZRANGE', ends, -1, -1, 'WITHSCORES')[2]
if last then
  local expires = string.format('%.0f', tonumber(last))
  redis.call('PEXPIREAT', entries, expires)
  redis.call('PEXPIREAT', ends, expires)
end
