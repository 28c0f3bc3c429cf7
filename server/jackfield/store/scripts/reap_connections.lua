#!lua flags=allow-oom
-- Remove connections of a dead node. Whoever takes one off the index is the one to announce it.
-- KEYS: the node's hash, its index, its mark, then the connections' hashes.
-- ARGV: the mark's ttl in ms, then the connections' ids. The mark tells the node, should it only have
-- been stopped, that its connections were announced to have left.
-- Returns false if the node lives, else ids and users in turn of those that were still there.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return false
end
local reaped = {}
for i = 2, #ARGV do
  local user = redis.call('HGET', KEYS[2], ARGV[i])
  if user then
    redis.call('HDEL', KEYS[2], ARGV[i])
    redis.call('DEL', KEYS[i + 2])
    redis.call('SET', KEYS[3], '1', 'PX', ARGV[1])
    reaped[#reaped + 1] = ARGV[i]
    reaped[#reaped + 1] = user
  end
end
return reaped
