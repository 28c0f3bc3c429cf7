-- The part that scripts of instances share, behind that of tasks: what an instance has, and loses.
-- The tasks that an instance has, of skills joined by blanks: what the streams' group has in its name.
local function held_by(instance, skills)
  local held = {}
  for skill in string.gmatch(skills, '%S+') do
    local work = work_key(agent, skill)
    if redis.call('EXISTS', work) == 1 then
      -- As many as one may have, so that none is left without its instance.
      for _, each in ipairs(redis.call('XPENDING', work, 'agents', '-', '+', 1000, instance)) do
        local entry = redis.call('XRANGE', work, each[1], each[1])[1]
        local t = entry and read(entry[2][2])
        if t and not ended[t.state] and t.entry == each[1] then
          held[#held + 1] = t
        else  -- the task has expired meanwhile
          redis.call('XACK', work, 'agents', each[1])
          redis.call('XDEL', work, each[1])
        end
      end
    end
  end
  return held
end
local function drop_instance(instance)
  local key = instance_key(agent, instance)
  local had = redis.call('HGET', key, 'had') or ''
  withdraw(instance)
  redis.call('DEL', key)  -- before its tasks end: it must not count as free
  redis.call('ZREM', leases, instance)
  for _, t in ipairs(held_by(instance, had)) do
    if t.idempotent and t.died < tries then
      hand_on(t)
    else
      finish(t, 'failed', 'error', agent_gone(t.id), '')
    end
  end
  for skill in string.gmatch(had, '%S+') do
    local work = work_key(agent, skill)
    if redis.call('EXISTS', work) == 1 then
      redis.call('XGROUP', 'DELCONSUMER', work, 'agents', instance)
    end
  end
end
-- Have an instance whose agent is another owner's be told so.
local function tell_unregistered(instance)
  local node = redis.call('HGET', instance_key(agent, instance), 'node')
  if node then
    tell(node, order_record(instance, '-', '0', 'unregistered'), '')
  end
end
