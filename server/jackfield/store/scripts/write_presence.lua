#!lua
-- Say how many connections a node has of each of some members of a topic.
-- ARGV: the node, its ttl in ms, the start of a presence message, then for each member its name, its
-- connections and what others see of it. Returns the version.
local node, ttl, head = ARGV[1], ARGV[2], ARGV[3]
redis.call('ZADD', nodes, now + ttl, node)
for arg = 4, #ARGV, 3 do
  local member, connections, seen = unpack(ARGV, arg, arg + 2)
  count(node, member, tonumber(connections), head, seen)
end
announce_dead_members(head)
return finish(ttl)
