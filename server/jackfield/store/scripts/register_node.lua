#!lua flags=allow-oom
-- Say that a node is alive. Also when memory is full: what is there must not expire all at once.
-- KEYS: the node's hash. ARGV: ttl in ms, when it started or '' for now, then fields and values.
-- Returns when it started, in seconds.
local time = redis.call('TIME')
local now = string.format('%d.%03d', time[1], math.floor(time[2] / 1000))
local started = ARGV[2]
if started == '' then
  started = now
end
redis.call('HSET', KEYS[1], 'started_at', started, 'seen_at', now, unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return started
