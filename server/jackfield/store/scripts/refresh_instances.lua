#!lua flags=allow-oom
-- Renew the leases of a node's instances of an agent, and say what they have. Also when memory is full.
-- ARGV behind those of all: the node, for how many ms they are leased and their skills are remembered;
-- then the instances.
-- Returns for each a list: '1' if it is this node's, else ''; then for each of its tasks the task,
-- attempt and how often it was answered.
local node, lease, memory, replies = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), {}
for arg = 8, #ARGV do
  local instance, reply = ARGV[arg], {''}
  local i = redis.call('HMGET', instance_key(agent, instance), 'node', 'had')
  if i[1] == node then
    reply[1] = '1'
    redis.call('ZADD', leases, now + lease, instance)
    redis.call('PEXPIRE', instance_key(agent, instance), ttl)
    for _, t in ipairs(held_by(instance, i[2])) do
      for _, value in ipairs({t.id, t.attempt, redis.call('HGET', t.key, 'answers') or '0'}) do
        reply[#reply + 1] = value
      end
    end
    rank(instance)
  end
  replies[#replies + 1] = reply
end
prolong(leases, ttl)
if redis.call('EXISTS', agent_skills_key(agent)) == 1 then
  prolong(agent_skills_key(agent), memory)
end
settle()
return replies
