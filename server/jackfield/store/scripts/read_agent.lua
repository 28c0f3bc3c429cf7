#!lua flags=no-writes
-- What is known of an agent.
-- KEYS: what all keys of the agent start with. ARGV: nothing.
-- Returns how many calls wait, then its skills in turn with their digests and definitions, then '' and
-- for each instance with a lease its capacity, how many tasks it has and its skills.
local agent = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local reply = {redis.call('HGET', agent_meta_key(agent), 'waiting') or '0'}
for _, value in ipairs(redis.call('HGETALL', agent_skills_key(agent))) do
  reply[#reply + 1] = value
end
reply[#reply + 1] = ''
for _, instance in ipairs(redis.call('ZRANGEBYSCORE', leases_key(agent), now, '+inf')) do
  local i = redis.call('HMGET', instance_key(agent, instance), 'capacity', 'running', 'skills',
    'leaving')
  if i[1] and not i[4] then
    for place = 1, 3 do
      reply[#reply + 1] = i[place]
    end
  end
end
return reply
