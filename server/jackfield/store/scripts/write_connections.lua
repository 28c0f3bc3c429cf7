#!lua
-- Write connections of one node whole.
-- KEYS: the node's index, then the connections' hashes.
-- ARGV: '1' to replace those that are there or '0' to leave them, their ttl in ms, the index's;
-- then for each its id, its user, how many values follow, and fields and values in turn.
local time = redis.call('TIME')
local now = string.format('%d.%03d', time[1], math.floor(time[2] / 1000))
local at = 4
for i = 2, #KEYS do
  local id, user, first = ARGV[at], ARGV[at + 1], at + 3
  at = first + ARGV[at + 2]
  local there = redis.call('EXISTS', KEYS[i]) == 1
  if ARGV[1] == '1' or not there then
    redis.call('DEL', KEYS[i])
    redis.call('HSET', KEYS[i], 'user', user, 'seen_at', now)
    for j = first, at - 1, 2 do
      redis.call('HSET', KEYS[i], ARGV[j], ARGV[j + 1])
    end
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
    redis.call('HSET', KEYS[1], id, user)
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
