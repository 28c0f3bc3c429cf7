#!lua flags=allow-oom
-- Take connections off the index of a node whose hash has gone.
-- KEYS: the node's index, then the connections' hashes. ARGV: their ids.
local index = KEYS[1]
for i, id in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    redis.call('HDEL', index, id)
  end
end
