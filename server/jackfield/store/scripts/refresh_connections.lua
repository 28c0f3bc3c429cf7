#!lua flags=allow-oom
-- Refresh connections of one node. Also when memory is full: they must not expire all at once.
-- KEYS: the node's index, then the connections' hashes. ARGV: their ttl in ms, the index's.
-- Returns the places (from 1) of the connections that had gone.
local time = redis.call('TIME')
local now = string.format('%d.%03d', time[1], math.floor(time[2] / 1000))
local gone = {}
for i = 2, #KEYS do
  if redis.call('PEXPIRE', KEYS[i], ARGV[1]) == 1 then
    redis.call('HSET', KEYS[i], 'seen_at', now)
  else
    gone[#gone + 1] = i - 1
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return gone
