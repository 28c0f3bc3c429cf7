#!lua flags=allow-oom
-- Say that a node is alive. Also when memory is full: what is there must not expire all at once.
-- KEYS: the node's hash, the mark of a reaped one.
-- ARGV: ttl in ms, when it started or '' for now, then fields and values.
-- Returns when it started, in seconds, and 1 if others have taken it for dead.
local node, mark, ttl, started = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
if started == '' then
  started = seconds(now)
end
redis.call('HSET', node, 'started_at', started, 'seen_at', seconds(now), unpack(ARGV, 3))
redis.call('PEXPIRE', node, ttl)
return {started, redis.call('DEL', mark)}
