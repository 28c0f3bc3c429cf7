#!lua flags=no-writes
-- What is known of an agent.
-- KEYS: what all keys of the agent start with. ARGV: nothing.
-- Returns how many calls wait, then its skills in turn with their digests and definitions, then '' and
-- for each instance with a lease its capacity, how many tasks it has and its skills.
-- What makes keys and messages here are templates: see store/lua.py.
local agent = KEYS[1]
local reply = {redis.call('HGET', agent_meta_key(agent), 'waiting') or '0'}
for _, value in ipairs(redis.call('HGETALL', agent_skills_key(agent))) do
  reply[#reply + 1] = value
end
reply[#reply + 1] = ''
for _, instance in ipairs(redis.call('ZRANGEBYSCORE', leases_key(agent), now, '+inf')) do
  local capacity, running, skills, leaving = unpack(redis.call('HMGET', instance_key(agent, instance),
    'capacity', 'running', 'skills', 'leaving'))
  if capacity and not leaving then
    for _, value in ipairs({capacity, running, skills}) do
      reply[#reply + 1] = value
    end
  end
end
return reply
