-- The part that scripts of agents share: what becomes of a task, and who is told.
-- KEYS[1] is what all keys of the agent start with. ARGV[1] to ARGV[4]: an epoch for topics that
-- have none, how many events of a task are kept, for how many ms it can be read after its end, and
-- how often one is tried whose agent dies.
local base, new_epoch, keep = KEYS[1], ARGV[1], tonumber(ARGV[2])
local ttl, tries = tonumber(ARGV[3]), tonumber(ARGV[4])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ended = {completed = true, failed = true, canceled = true, rejected = true}
local asking = {input_required = true, auth_required = true}
-- What is published at the end: the events of each task, and what each node is told.
local topics, nodes, heard, touched = {}, {}, {}, {}

local function tell(node, header, body)
  nodes[node] = nodes[node] or {}
  table.insert(nodes[node], header .. ' ' .. #body .. '\n' .. body)
end
local function publish()
  for id, topic in pairs(topics) do
    local header = 'e ' .. topic.epoch .. ' ' .. topic.first .. ' ' .. table.concat(topic.sizes, ',')
    redis.call('SPUBLISH', base .. ':t:' .. id, header .. '\n' .. table.concat(topic.events))
  end
  for node, records in pairs(nodes) do
    redis.call('SPUBLISH', base .. ':n:' .. node, table.concat(records))
  end
end
local function hears(node)
  if heard[node] == nil then
    heard[node] = redis.call('PUBSUB', 'SHARDNUMSUB', base .. ':n:' .. node)[2] > 0
  end
  return heard[node]
end

local function read(id)
  local key = base .. ':task:' .. id
  local t = redis.call('HMGET', key, 'state', 'skill', 'instance', 'entry', 'attempt', 'seq', 'nodes',
    'deadline', 'idempotent', 'brief')
  if not t[1] then
    return nil
  end
  return {
    id = id, key = key, state = t[1], skill = t[2], instance = t[3], entry = t[4], attempt = t[5],
    seq = tonumber(t[6]), nodes = t[7], deadline = tonumber(t[8]), idempotent = t[9] == '1',
    brief = t[10], work = base .. ':work:' .. t[2],
  }
end
local function append(t, payload)
  local topic = base .. ':t:' .. t.id
  local meta, log = topic .. ':meta', topic .. ':log'
  local life = math.max(t.deadline - now, 0) + ttl
  local epoch, offset = open_topic(meta, log, new_epoch)
  local number = integer(offset + 1)
  local event = '{"type":"event","topic":"task:' .. t.id .. '","offset":' .. number
    .. ',"payload":' .. payload .. '}'
  redis.call('XADD', log, 'MAXLEN', '=', keep, number .. '-0', 'e', event)
  redis.call('HSET', meta, 'offset', number)
  redis.call('PEXPIRE', log, integer(life))
  redis.call('PEXPIRE', meta, integer(life))
  local out = topics[t.id]
  if not out then
    out = {epoch = epoch, first = number, sizes = {}, events = {}}
    topics[t.id] = out
  end
  table.insert(out.sizes, #event)
  table.insert(out.events, event)
  for node in string.gmatch(t.nodes, '%S+') do
    tell(node, 'e ' .. t.id .. ' ' .. epoch .. ' ' .. number, event)
  end
  return epoch, number
end
local function change(t, state, rest)
  t.state = state
  redis.call('HSET', t.key, 'state', state)
  append(t, '{"kind":"state","state":"' .. state .. '","attempt":' .. t.attempt .. (rest or '') .. '}')
end
local function order(t, verb, rest, number)
  local node = redis.call('HGET', base .. ':i:' .. t.instance, 'node')
  if node then
    local header = 'o ' .. t.instance .. ' ' .. t.id .. ' ' .. t.attempt .. ' ' .. verb
      .. (number and ' ' .. number or '')
    tell(node, header, rest and '{"type":"agent.' .. verb .. '","payload":{' .. rest .. '}}' or '')
  end
end
local function named(t)
  return '"task":"' .. t.id .. '","attempt":' .. t.attempt
end

-- Where an instance stands among those of each of its skills that can take more.
local function rank(instance)
  local i = redis.call('HMGET', base .. ':i:' .. instance, 'running', 'capacity', 'skills', 'leaving')
  if not i[1] then
    return
  end
  local running, capacity = tonumber(i[1]), tonumber(i[2])
  for skill in string.gmatch(i[3], '%S+') do
    local free = base .. ':free:' .. skill
    if running < capacity and not i[4] then
      redis.call('ZADD', free, running / capacity, instance)
      prolong(free, ttl)
      touched[skill] = true
    else
      redis.call('ZREM', free, instance)
    end
  end
end
local function withdraw(instance)
  local skills = redis.call('HGET', base .. ':i:' .. instance, 'skills') or ''
  for skill in string.gmatch(skills, '%S+') do
    redis.call('ZREM', base .. ':free:' .. skill, instance)
  end
end
local function waiting(change_by)
  return redis.call('HINCRBY', base .. ':meta', 'waiting', change_by)
end
local function queue(t)
  if redis.call('EXISTS', t.work) == 0 then
    redis.call('XGROUP', 'CREATE', t.work, 'agents', '0', 'MKSTREAM')
  end
  t.entry, t.instance = redis.call('XADD', t.work, '*', 't', t.id), ''
  redis.call('HSET', t.key, 'entry', t.entry, 'instance', '')
  prolong(t.work, math.max(t.deadline - now, 0) + ttl)
  waiting(1)
  prolong(base .. ':meta', math.max(t.deadline - now, 0) + ttl)
  touched[t.skill] = true
end
local function unqueue(t)
  redis.call('XACK', t.work, 'agents', t.entry)
  redis.call('XDEL', t.work, t.entry)
  if t.instance == '' then
    waiting(-1)
  elseif redis.call('EXISTS', base .. ':i:' .. t.instance) == 1 then
    redis.call('HINCRBY', base .. ':i:' .. t.instance, 'running', -1)
    rank(t.instance)
  end
end
local function finish(t, state, key, value, by)
  redis.call('HSET', t.key, key, value, 'by', by)
  redis.call('HDEL', t.key, 'prompt')
  redis.call('ZREM', base .. ':due', t.id)
  unqueue(t)
  change(t, state, ',"' .. key .. '":' .. value)
  redis.call('PEXPIRE', t.key, ttl)
  redis.call('PEXPIRE', base .. ':t:' .. t.id .. ':log', ttl)
  redis.call('PEXPIRE', base .. ':t:' .. t.id .. ':meta', ttl)
end
-- End a task from outside; the instance that has it is told.
local function stop(t, state, err)
  if t.instance ~= '' then
    order(t, 'canceled', named(t) .. ',"error":' .. err)
  end
  finish(t, state, 'error', err, '')
end
local function fault(t, code, message, retryable)
  return '{"code":"' .. code .. '","message":"' .. message .. '","retryable":' .. retryable
    .. ',"task":"' .. t.id .. '"}'
end
-- The tasks that an instance has, of skills joined by blanks: what the streams' group has in its name.
local function held_by(instance, skills)
  local held = {}
  for skill in string.gmatch(skills, '%S+') do
    local work = base .. ':work:' .. skill
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
  local had = redis.call('HGET', base .. ':i:' .. instance, 'had') or ''
  withdraw(instance)
  redis.call('DEL', base .. ':i:' .. instance)  -- before its tasks end: it must not count as free
  redis.call('ZREM', base .. ':leases', instance)
  for _, t in ipairs(held_by(instance, had)) do
    if t.idempotent and tonumber(t.attempt) < tries then
      redis.call('HDEL', t.key, 'prompt')
      redis.call('ZADD', base .. ':due', t.deadline, t.id)
      unqueue(t)
      queue(t)
      if asking[t.state] then
        change(t, 'working')
      end
    else
      finish(t, 'failed', 'error', fault(t, 'agent_gone', 'The agent is gone.', 'true'), '')
    end
  end
  for skill in string.gmatch(had, '%S+') do
    if redis.call('EXISTS', base .. ':work:' .. skill) == 1 then
      redis.call('XGROUP', 'DELCONSUMER', base .. ':work:' .. skill, 'agents', instance)
    end
  end
end

local function assign(t, instance)
  t.attempt = integer(t.attempt + 1)
  t.instance = instance
  redis.call('HSET', t.key, 'instance', instance, 'attempt', t.attempt)
  redis.call('HDEL', t.key, 'answer', 'answers')  -- they were for another attempt
  redis.call('HINCRBY', base .. ':i:' .. instance, 'running', 1)
  rank(instance)
  change(t, 'working')
  order(t, 'assigned', t.brief .. ',"attempt":' .. t.attempt .. ',"seq":' .. integer(t.seq)
    .. ',"input":' .. redis.call('HGET', t.key, 'input'))
end
-- Hand what waits for a skill to the least busy instances that have it.
local function hand_out(skill)
  local work, free = base .. ':work:' .. skill, base .. ':free:' .. skill
  if redis.call('EXISTS', work) == 0 then
    return
  end
  while true do
    local instance = redis.call('ZRANGE', free, 0, 0)[1]
    if not instance then
      return
    end
    local lease = tonumber(redis.call('ZSCORE', base .. ':leases', instance) or 0)
    local node = redis.call('HGET', base .. ':i:' .. instance, 'node')
    if lease <= now or not node or not hears(node) then
      withdraw(instance)  -- its next sign of life brings it back
      redis.call('ZREM', free, instance)  -- of one that has expired nobody knows the skills
    else
      local reply = redis.call('XREADGROUP', 'GROUP', 'agents', instance, 'COUNT', 1,
        'STREAMS', work, '>')
      if not reply then
        return
      end
      local entry = reply[1][2][1]
      waiting(-1)
      local t = read(entry[2][2])
      if t and not ended[t.state] then
        assign(t, instance)
      else
        redis.call('XACK', work, 'agents', entry[1])
        redis.call('XDEL', work, entry[1])
      end
    end
  end
end
local function settle()
  if tonumber(redis.call('HGET', base .. ':meta', 'waiting') or 0) > 0 then
    local skills = {}
    for skill in pairs(touched) do
      skills[#skills + 1] = skill
    end
    table.sort(skills)
    -- Another one is first each time, so that none waits for ever behind a busy one.
    for place = 1, #skills do
      hand_out(skills[(place + now) % #skills + 1])
    end
  end
  publish()
end
