#!lua flags=allow-oom
-- Remove connections of a dead node. Whoever takes one off the index is the one to announce it.
-- KEYS: the node's hash, its index, then the connections' hashes. ARGV: their ids.
-- Returns false if the node lives, else ids and users in turn of those that were still there.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return false
end
local reaped = {}
for i = 1, #ARGV do
  local user = redis.call('HGET', KEYS[2], ARGV[i])
  if user then
    redis.call('HDEL', KEYS[2], ARGV[i])
    redis.call('DEL', KEYS[i + 2])
    reaped[#reaped + 1] = ARGV[i]
    reaped[#reaped + 1] = user
  end
end
return reaped
