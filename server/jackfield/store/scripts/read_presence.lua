#!lua flags=allow-oom
-- Who is there. Also when memory is full.
-- ARGV: the start of a presence message, the ttl of a node in ms, how many members to return.
-- Returns the version, how many members there are, then connections and looks of each in turn.
reap(ARGV[1])
local reply = {finish(ARGV[2]), redis.call('HLEN', who) - 1}
local listed = redis.call('HGETALL', who)
for i = 1, #listed, 2 do
  if #reply >= 2 + 2 * ARGV[3] then
    break
  end
  if listed[i] ~= '' then
    reply[#reply + 1] = listed[i + 1]
    reply[#reply + 1] = redis.call('HGET', info, listed[i]) or '{}'
  end
end
return reply
