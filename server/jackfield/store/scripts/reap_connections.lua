#!lua flags=allow-oom
-- Remove connections of a dead node. Whoever takes one off the index is the one to announce it.
-- KEYS: the node's hash, its index, its mark, then the connections' hashes.
-- ARGV: the mark's ttl in ms, then the connections' ids. The mark tells the node, should it only have
-- been stopped, that its connections were announced to have left.
-- Returns false if the node lives, else ids and users in turn of those that were still there.
local node, index, mark, mark_ttl = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
if redis.call('EXISTS', node) == 1 then
  return false
end
local reaped = {}
for i = 2, #ARGV do
  local connection, id = KEYS[i + 2], ARGV[i]
  local user = redis.call('HGET', index, id)
  if user then
    redis.call('HDEL', index, id)
    redis.call('DEL', connection)
    redis.call('SET', mark, '1', 'PX', mark_ttl)
    reaped[#reaped + 1] = id
    reaped[#reaped + 1] = user
  end
end
return reaped
