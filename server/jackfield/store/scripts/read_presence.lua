#!lua flags=allow-oom
-- Who is there. Also when memory is full.
-- ARGV: the start of a presence message, the ttl of a node in ms, how many members to return.
-- Returns the version, how many members there are, then of each in turn its connections and what
-- others see of it.
local head, ttl, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
announce_dead_members(head)
local reply = {finish(ttl), redis.call('HLEN', who) - 1}
local members = redis.call('HGETALL', who)
for i = 1, #members, 2 do
  local member, connections = members[i], members[i + 1]
  if #reply >= 2 + 2 * most then
    break
  end
  if member ~= '' then
    reply[#reply + 1] = connections
    reply[#reply + 1] = redis.call('HGET', info, member) or '{}'
  end
end
return reply
