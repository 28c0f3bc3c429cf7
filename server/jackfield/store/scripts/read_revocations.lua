#!lua flags=no-writes
-- The revocations that were entered since somebody looked; all, if what they know has gone.
-- KEYS: the entries by their score. ARGV: the newest score that is known.
-- Returns the newest score there is, 0 if none, then the entries.
local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] or '0'
local known = ARGV[1]
if tonumber(newest) < tonumber(known) then
  known = '0'
end
local entries = redis.call('ZRANGE', KEYS[1], '(' .. known, '+inf', 'BYSCORE')
table.insert(entries, 1, newest)
return entries
