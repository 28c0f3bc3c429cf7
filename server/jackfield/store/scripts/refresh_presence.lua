#!lua flags=allow-oom
-- Say that a node is alive, which has members of a topic. Also when memory is full.
-- ARGV: the node, its ttl in ms, the start of a presence message, how many members it has.
-- Returns the version; if other members are known of the node than it has, '1' and their names. It
-- may have been taken for dead, all may be lost, or it has not got through with what it wrote.
local mine = topic_here_key(channel, ARGV[1])
redis.call('ZADD', nodes, now + ARGV[2], ARGV[1])
local known = redis.call('HKEYS', mine)
reap(ARGV[3])
local reply = {finish(ARGV[2])}
if #known ~= tonumber(ARGV[4]) then
  reply[2] = '1'
  for _, member in ipairs(known) do
    reply[#reply + 1] = member
  end
end
return reply
