#!lua flags=allow-oom
-- Renew the leases of a node's instances of an agent, and say what they have. Also when memory is full.
-- ARGV behind those of all: the node, for how many ms they are leased and their skills are remembered;
-- then the instances.
-- Returns for each a list: '1' if it is this node's, else ''; then for each of its tasks the task,
-- attempt and how often it was answered.
local node, lease, memory = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local replies = {}
for arg = 8, #ARGV do
  local instance, reply = ARGV[arg], {''}
  local key = instance_key(agent, instance)
  local node_now, had, lost = unpack(redis.call('HMGET', key, 'node', 'had', 'lost'))
  if node_now == node then
    reply[1] = '1'
    redis.call('ZADD', leases, now + lease, instance)
    redis.call('PEXPIRE', key, ttl)
    for _, t in ipairs(held_by(instance, had)) do
      for _, value in ipairs({t.id, t.attempt, redis.call('HGET', t.key, 'answers') or '0'}) do
        reply[#reply + 1] = value
      end
    end
    rank(instance)
    if lost then
      tell_unregistered(instance)  -- again: what is published may be lost
    end
  end
  replies[#replies + 1] = reply
end
prolong(leases, ttl)
if redis.call('EXISTS', agent_skills_key(agent)) == 1 then
  prolong(agent_skills_key(agent), memory)
  prolong(owner_key, memory)
end
settle()
return replies
