#!lua
-- Register an instance of an agent, or one that has come back with what it had.
-- ARGV behind those of all: the instance, its node, its user, its capacity, the ids of its skills
-- joined by blanks, for how many ms it is leased and its skills are remembered; then for each skill its
-- id and its digest and definition, joined by a blank.
-- Returns '1' if it has come back, 'foreign' if it is another user's; then for each task that it still
-- has the task, attempt, chunks, state and how often it was answered.
local instance, node, user, capacity, skills, lease, memory = unpack(ARGV, 5, 11)
memory = tonumber(memory)
local key, reply = base .. ':i:' .. instance, {'0'}
local before = redis.call('HMGET', key, 'user', 'node', 'had')
local had = skills
if before[1] then
  if before[1] ~= user then
    return {'foreign'}
  end
  reply[1] = '1'
  if before[2] ~= node then
    tell(before[2], 'o ' .. instance .. ' - 0 moved', '')
  end
  withdraw(instance)
  redis.call('HDEL', key, 'leaving')
  for skill in string.gmatch(before[3], '%S+') do
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
redis.call('ZADD', base .. ':leases', now + tonumber(lease), instance)
prolong(base .. ':leases', ttl)
for arg = 12, #ARGV, 2 do
  redis.call('HSET', base .. ':skills', ARGV[arg], ARGV[arg + 1])
end
prolong(base .. ':skills', memory)
for skill in string.gmatch(had, '%S+') do
  local work = base .. ':work:' .. skill
  if redis.call('EXISTS', work) == 1 then
    for _, each in ipairs(redis.call('XPENDING', work, 'agents', '-', '+', 1000, instance)) do
      local entry = redis.call('XRANGE', work, each[1], each[1])[1]
      local t = entry and read(entry[2][2])
      if t and t.instance == instance then
        local answers = redis.call('HGET', t.key, 'answers') or '0'
        for _, value in ipairs({t.id, t.attempt, integer(t.seq), t.state, answers}) do
          reply[#reply + 1] = value
        end
      end
    end
  end
end
rank(instance)
settle()
return reply
