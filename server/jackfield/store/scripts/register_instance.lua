#!lua
-- Register an instance of an agent, or one that has come back with what it had.
-- ARGV behind those of all: the instance, its node, its user, its capacity, the ids of its skills
-- joined by blanks, for how many ms it is leased and its skills are remembered; then for each skill its
-- id and its digest and definition, joined by a blank.
-- Returns 'foreign' if it is another user's; else for each task that it still has the task, attempt, how
-- often it was answered, chunks and state.
local instance, node, user, capacity, skills, lease, memory = unpack(ARGV, 5, 11)
memory = tonumber(memory)
local key, reply = instance_key(agent, instance), {}
local owner, node_before, had_before = unpack(redis.call('HMGET', key, 'user', 'node', 'had'))
local had = skills
if owner then
  if owner ~= user then
    return {'foreign'}
  end
  if node_before ~= node then
    tell(node_before, moved_record(instance), '')
  end
  withdraw(instance)
  redis.call('HDEL', key, 'leaving')
  for skill in string.gmatch(had_before, '%S+') do
    if not string.find(' ' .. had .. ' ', ' ' .. skill .. ' ', 1, true) then
      had = had .. ' ' .. skill  -- it may still have tasks of it
    end
  end
else
  redis.call('HSET', key, 'running', '0')
end
redis.call('HSET', key, 'node', node, 'user', user, 'capacity', capacity, 'skills', skills,
  'had', had)
redis.call('PEXPIRE', key, ttl)
redis.call('ZADD', leases, now + tonumber(lease), instance)
prolong(leases, ttl)
for arg = 12, #ARGV, 2 do
  local skill, definition = ARGV[arg], ARGV[arg + 1]
  redis.call('HSET', agent_skills_key(agent), skill, definition)
end
prolong(agent_skills_key(agent), memory)
for _, t in ipairs(held_by(instance, had)) do
  local answers = redis.call('HGET', t.key, 'answers') or '0'
  for _, value in ipairs({t.id, t.attempt, answers, integer(t.seq), t.state}) do
    reply[#reply + 1] = value
  end
end
rank(instance)
settle()
return reply
