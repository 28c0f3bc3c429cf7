#!lua flags=allow-oom
-- Take connections off the index of a node whose hash has gone.
-- KEYS: the node's index, then the connections' hashes. ARGV: their ids.
for i = 1, #ARGV do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
