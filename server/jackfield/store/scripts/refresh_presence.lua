#!lua flags=allow-oom
-- Say that a node is alive, which has members of a topic. Also when memory is full.
-- ARGV: the node, its ttl in ms, the start of a presence message, how many members it has.
-- Returns the version; if other members are known of the node than it has, '1' and their names. It
-- may have been taken for dead, all may be lost, or it has not got through with what it wrote.
local node, ttl, head, members = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
redis.call('ZADD', nodes, now + ttl, node)
local known = redis.call('HKEYS', topic_here_key(channel, node))
announce_dead_members(head)
local reply = {finish(ttl)}
if #known ~= members then
  reply[2] = '1'
  for _, member in ipairs(known) do
    reply[#reply + 1] = member
  end
end
return reply
