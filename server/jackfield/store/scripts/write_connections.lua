#!lua
-- Write connections of one node whole, and enter them with their users.
-- KEYS: the node's index, then the connections' hashes, then sorted sets of users.
-- ARGV: '1' to replace those that are there or '0' to leave them, their ttl in ms, the index's, and
-- how many they are; then for each its id, its user, how many values follow, and fields and values
-- in turn; then for each sorted set its member.
local time = redis.call('TIME')
local milliseconds = math.floor(time[2] / 1000)
local now = string.format('%d.%03d', time[1], milliseconds)
local last, at = 1 + ARGV[4], 5
for i = 2, last do
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
local expires = time[1] * 1000 + milliseconds + ARGV[2]
for i = last + 1, #KEYS do
  redis.call('ZADD', KEYS[i], expires, ARGV[at])
  redis.call('PEXPIRE', KEYS[i], ARGV[2])
  at = at + 1
end
