#!lua flags=no-writes
-- The revocations that were entered since somebody looked; all, if what they know has gone.
-- KEYS: the entries by their score. ARGV: the newest score that is known.
-- Returns the newest score there is, 0 if none, then the entries.
local entries, known = KEYS[1], ARGV[1]
local newest = redis.call('ZRANGE', entries, -1, -1, 'WITHSCORES')[2] or '0'
if tonumber(newest) < tonumber(known) then
  known = '0'
end
local reply = redis.call('ZRANGE', entries, '(' .. known, '+inf', 'BYSCORE')
table.insert(reply, 1, newest)
return reply
