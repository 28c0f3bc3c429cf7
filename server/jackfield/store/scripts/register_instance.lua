#!lua
-- Register an instance of an agent, or one that has come back with what it had.
-- ARGV behind those of all: the instance, its node, its user, its capacity, the ids of its skills
-- joined by blanks, for how many ms it is leased and its skills are remembered, '1' if it may take the
-- agent over, how many bytes the definitions of all skills of the agent may have; then for each skill
-- its id and its digest and definition, joined by a blank.
-- Returns 'foreign' if the instance is another user's; 'owned' if the agent is; 'no_room' if there is none
-- for its skills; else for each task that it still has the task, attempt, how often it was
-- answered, chunks and state.
local instance, node, user, capacity, skills, lease, memory, holds, max_bytes = unpack(ARGV, 5, 13)
memory = tonumber(memory)
local key, skills_key, reply = instance_key(agent, instance), agent_skills_key(agent), {}
local user_before, node_before, had_before = unpack(redis.call('HMGET', key, 'user', 'node', 'had'))
if user_before and user_before ~= user then
  return {'foreign'}
end
local leased = redis.call('ZRANGEBYSCORE', leases, now, '+inf')
local owner = redis.call('GET', owner_key)
for _, other in ipairs(owner and {} or leased) do  -- an older node has registered it
  owner = owner or redis.call('HGET', instance_key(agent, other), 'user')
end
local taken = owner and owner ~= user
if taken and holds == '' then
  return {'owned'}
end
-- The other instances: those that lose the agent, and what the others can be called for.
local losers, served, new = {}, {}, {}
for _, other in ipairs(leased) do
  local its_user, names, leaving, its_holds = unpack(redis.call('HMGET', instance_key(agent, other),
    'user', 'skills', 'leaving', 'holds'))
  if other ~= instance and its_user then
    if taken and its_user ~= user and its_holds ~= '1' then
      losers[#losers + 1] = other
    elseif not leaving then
      for skill in string.gmatch(names, '%S+') do
        served[skill] = true
      end
    end
  end
end
-- What a skill's definition takes, without its digest.
local function size(definition)
  return #definition - string.find(definition, ' ', 1, true)
end
local bytes, spare, spare_bytes = 0, {}, 0
for arg = 14, #ARGV, 2 do
  new[ARGV[arg]] = true
  bytes = bytes + size(ARGV[arg + 1])
end
local known = redis.call('HGETALL', skills_key)
for place = 1, #known, 2 do
  local skill, definition = known[place], known[place + 1]
  if served[skill] and not new[skill] then
    bytes = bytes + size(definition)
  elseif not new[skill] then
    spare[#spare + 1] = skill
    spare_bytes = spare_bytes + size(definition)
  end
end
if bytes > tonumber(max_bytes) then
  return {'no_room'}
end
-- Skills that nobody serves are remembered while there is room, and none of a former owner's.
if taken or bytes + spare_bytes > tonumber(max_bytes) then
  for _, skill in ipairs(spare) do
    redis.call('HDEL', skills_key, skill)
  end
end
for _, loser in ipairs(losers) do
  withdraw(loser)
  redis.call('HSET', instance_key(agent, loser), 'leaving', '1', 'lost', '1')
  tell_unregistered(loser)
end
if not owner or taken then
  redis.call('SET', owner_key, user, 'KEEPTTL')
elseif redis.call('EXISTS', owner_key) == 0 then
  redis.call('SET', owner_key, owner)
end
prolong(owner_key, memory)
local had = skills
if user_before then
  if node_before ~= node then
    tell(node_before, moved_record(instance), '')
  end
  withdraw(instance)
  redis.call('HDEL', key, 'leaving', 'lost')
  for skill in string.gmatch(had_before, '%S+') do
    if not string.find(' ' .. had .. ' ', ' ' .. skill .. ' ', 1, true) then
      had = had .. ' ' .. skill  -- it may still have tasks of it
    end
  end
else
  redis.call('HSET', key, 'running', '0')
end
redis.call('HSET', key, 'node', node, 'user', user, 'capacity', capacity, 'skills', skills,
  'had', had, 'holds', holds)
redis.call('PEXPIRE', key, ttl)
redis.call('ZADD', leases, now + tonumber(lease), instance)
prolong(leases, ttl)
for arg = 14, #ARGV, 2 do
  redis.call('HSET', skills_key, ARGV[arg], ARGV[arg + 1])
end
prolong(skills_key, memory)
for _, t in ipairs(held_by(instance, had)) do
  local answers = redis.call('HGET', t.key, 'answers') or '0'
  for _, value in ipairs({t.id, t.attempt, answers, integer(t.seq), t.state}) do
    reply[#reply + 1] = value
  end
end
rank(instance)
settle()
return reply
