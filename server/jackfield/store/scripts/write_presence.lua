#!lua
-- Say how many connections a node has of each of some members of a topic.
-- ARGV: the node, its ttl in ms, the start of a presence message, then for each member its name, its
-- connections and what others see of it. Returns the version.
redis.call('ZADD', nodes, now + ARGV[2], ARGV[1])
for i = 4, #ARGV, 3 do
  count(ARGV[1], ARGV[i], tonumber(ARGV[i + 1]), ARGV[3], ARGV[i + 2])
end
reap(ARGV[3])
return finish(ARGV[2])
