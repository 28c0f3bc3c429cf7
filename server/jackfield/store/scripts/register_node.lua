#!lua flags=allow-oom
-- Say that a node is alive. Also when memory is full: what is there must not expire all at once.
-- KEYS: the node's hash, the mark of a reaped one. ARGV: ttl in ms, when it started or '' for now, then fields and values.
-- Returns when it started, in seconds, and 1 if others have taken it for dead.
local time = redis.call('TIME')
local now = string.format('%d.%03d', time[1], math.floor(time[2] / 1000))
local started = ARGV[2]
if started == '' then
  started = now
end
redis.call('HSET', KEYS[1], 'started_at', started, 'seen_at', now, unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {started, redis.call('DEL', KEYS[2])}
