#!lua flags=allow-oom
-- Refresh connections of one node. Also when memory is full: they must not expire all at once.
-- KEYS: the node's index, then the connections' hashes. ARGV: their ttl in ms, the index's.
-- Returns which of the connections had gone, by their numbers from 1.
local index, ttl, index_ttl = KEYS[1], ARGV[1], ARGV[2]
local seen_at, gone = seconds(now), {}
for i = 2, #KEYS do
  if redis.call('PEXPIRE', KEYS[i], ttl) == 1 then
    redis.call('HSET', KEYS[i], 'seen_at', seen_at)
  else
    gone[#gone + 1] = i - 1
  end
end
redis.call('PEXPIRE', index, index_ttl)
return gone
