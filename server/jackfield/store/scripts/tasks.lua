-- The part that scripts of agents share: what becomes of a task, and who is told.
-- KEYS[1] is what all keys of the agent start with. ARGV[1] to ARGV[4]: an epoch for topics that
-- have none, how many events of a task are kept, for how many ms it can be read after its end, and
-- how often one is tried whose agent dies.
-- What makes keys and messages here are templates: see store/lua.py.
local agent, new_epoch = KEYS[1], ARGV[1]
local keep, ttl, tries = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local agent_meta, leases, due = agent_meta_key(agent), leases_key(agent), due_key(agent)
local owner_key, callers = agent_owner_key(agent), agent_callers_key(agent)
local ended = {completed = true, failed = true, canceled = true, rejected = true}
local asking = {input_required = true, auth_required = true}
-- What is published at the end: the events of each task, and what each node is told.
local topics, nodes, heard, touched = {}, {}, {}, {}

local function tell(node, words, body)
  nodes[node] = nodes[node] or {}
  table.insert(nodes[node], record(words, #body, body))
end
local function publish()
  for id, topic in pairs(topics) do
    redis.call('SPUBLISH', task_channel(agent, id), events_message(
      topic.epoch, topic.first, table.concat(topic.sizes, ','), table.concat(topic.events)))
  end
  for node, records in pairs(nodes) do
    redis.call('SPUBLISH', node_channel(agent, node), table.concat(records))
  end
end
local function hears(node)
  if heard[node] == nil then
    heard[node] = redis.call('PUBSUB', 'SHARDNUMSUB', node_channel(agent, node))[2] > 0
  end
  return heard[node]
end

local function read(id)
  local key = task_key(agent, id)
  local state, skill, instance, entry, attempt, seq, followers, deadline, idempotent, brief, released,
    payer =
    unpack(redis.call('HMGET', key, 'state', 'skill', 'instance', 'entry', 'attempt', 'seq', 'nodes',
      'deadline', 'idempotent', 'brief', 'released', 'payer'))
  if not state then
    return nil
  end
  return {
    id = id, key = key, state = state, skill = skill, instance = instance, entry = entry,
    attempt = attempt, seq = tonumber(seq), nodes = followers, deadline = tonumber(deadline),
    idempotent = idempotent == '1', brief = brief, work = work_key(agent, skill),
    payer = payer or '',  -- an older server says nothing of it
    died = tonumber(attempt) - tonumber(released or 0),  -- attempts that nobody has handed on
  }
end
local function append(t, payload)
  local channel = task_channel(agent, t.id)
  local meta, log = topic_meta_key(channel), topic_log_key(channel)
  local life = math.max(t.deadline - now, 0) + ttl
  local epoch, offset = open_topic(meta, log, new_epoch)
  local number = integer(offset + 1)
  local event = task_event(t.id, number, payload)
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
    tell(node, event_record(t.id, epoch, number), event)
  end
  return epoch, number
end
-- The field that goes with a state, if there is one, and its value in JSON.
local function change(t, state, field, value)
  t.state = state
  redis.call('HSET', t.key, 'state', state)
  append(t, field and task_state_with(state, t.attempt, field, value) or task_state(state, t.attempt))
end
-- Publish an order for the instance that has a task: by its words, and the message that it is sent.
local function order(t, words, message)
  local node = redis.call('HGET', instance_key(agent, t.instance), 'node')
  if node then
    tell(node, words, message)
  end
end
local function order_assigned(t)
  order(t, order_record(t.instance, t.id, t.attempt, 'assigned'),
    agent_assigned(t.brief, t.attempt, integer(t.seq), redis.call('HGET', t.key, 'input')))
end

-- Where an instance stands among those of each of its skills that can take more.
local function rank(instance)
  local running, capacity, skills, leaving = unpack(redis.call('HMGET', instance_key(agent, instance),
    'running', 'capacity', 'skills', 'leaving'))
  if not running then
    return
  end
  running, capacity = tonumber(running), tonumber(capacity)
  for skill in string.gmatch(skills, '%S+') do
    local free = free_key(agent, skill)
    if running < capacity and not leaving then
      redis.call('ZADD', free, running / capacity, instance)
      prolong(free, ttl)
      touched[skill] = true
    else
      redis.call('ZREM', free, instance)
    end
  end
end
local function withdraw(instance)
  local skills = redis.call('HGET', instance_key(agent, instance), 'skills') or ''
  for skill in string.gmatch(skills, '%S+') do
    redis.call('ZREM', free_key(agent, skill), instance)
  end
end
-- Count what waits, of all and of whose share it is taken; '' for nobody's.
local function waiting(change_by, payer)
  if redis.call('HINCRBY', agent_meta, 'waiting', change_by) <= 0 then
    redis.call('DEL', callers)  -- with what an older node has not counted
  elseif payer ~= '' and redis.call('HINCRBY', callers, payer, change_by) <= 0 then
    redis.call('HDEL', callers, payer)
  end
end
local function queue(t)
  if redis.call('EXISTS', t.work) == 0 then
    redis.call('XGROUP', 'CREATE', t.work, 'agents', '0', 'MKSTREAM')
  end
  t.entry, t.instance = redis.call('XADD', t.work, '*', 't', t.id, 'p', t.payer), ''
  redis.call('HSET', t.key, 'entry', t.entry, 'instance', '')
  prolong(t.work, math.max(t.deadline - now, 0) + ttl)
  waiting(1, t.payer)
  local life = math.max(t.deadline - now, 0) + ttl
  prolong(agent_meta, life)
  prolong(callers, life)
  prolong(owner_key, life)  -- nobody else is given what was meant for the owner
  touched[t.skill] = true
end
local function unqueue(t)
  redis.call('XACK', t.work, 'agents', t.entry)
  redis.call('XDEL', t.work, t.entry)
  if t.instance == '' then
    waiting(-1, t.payer)
  elseif redis.call('EXISTS', instance_key(agent, t.instance)) == 1 then
    redis.call('HINCRBY', instance_key(agent, t.instance), 'running', -1)
    rank(t.instance)
  end
end
-- Have another instance begin a task again; who was to answer is asked again then.
local function hand_on(t)
  redis.call('HDEL', t.key, 'prompt')
  redis.call('ZADD', due, t.deadline, t.id)
  unqueue(t)
  queue(t)
  if asking[t.state] then
    change(t, 'working')
  end
end
-- End a task, by the instance that has it or by nobody, with its output or an error in JSON.
local function finish(t, state, field, value, by)
  local channel = task_channel(agent, t.id)
  redis.call('HSET', t.key, field, value, 'by', by)
  redis.call('HDEL', t.key, 'prompt')
  redis.call('ZREM', due, t.id)
  unqueue(t)
  change(t, state, field, value)
  -- Of a task that was made by an older server nothing says for how long.
  local kept = redis.call('HGET', t.key, 'kept') or ttl
  redis.call('PEXPIRE', t.key, kept)
  redis.call('PEXPIRE', topic_log_key(channel), kept)
  redis.call('PEXPIRE', topic_meta_key(channel), kept)
end
-- End a task from outside; the instance that has it is told.
local function stop(t, state, err)
  if t.instance ~= '' then
    order(t, order_record(t.instance, t.id, t.attempt, 'canceled'),
      agent_canceled(t.id, t.attempt, err))
  end
  finish(t, state, 'error', err, '')
end

local function assign(t, instance)
  t.attempt = integer(t.attempt + 1)
  t.instance = instance
  redis.call('HSET', t.key, 'instance', instance, 'attempt', t.attempt)
  redis.call('HDEL', t.key, 'answer', 'answers')  -- they were for another attempt
  redis.call('HINCRBY', instance_key(agent, instance), 'running', 1)
  rank(instance)
  change(t, 'working')
  order_assigned(t)
end
-- Hand what waits for a skill to the least busy instances that have it.
local function hand_out(skill)
  local work, free = work_key(agent, skill), free_key(agent, skill)
  if redis.call('EXISTS', work) == 0 then
    return
  end
  while true do
    local instance = redis.call('ZRANGE', free, 0, 0)[1]
    if not instance then
      return
    end
    local lease = tonumber(redis.call('ZSCORE', leases, instance) or 0)
    local node = redis.call('HGET', instance_key(agent, instance), 'node')
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
      waiting(-1, entry[2][4] or '')
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
  if tonumber(redis.call('HGET', agent_meta, 'waiting') or 0) > 0 then
    local skills = {}
    for skill in pairs(touched) do
      skills[#skills + 1] = skill
    end
    table.sort(skills)
    -- Another one is first each time, so that none waits for ever behind a busy one.
    for turn = 1, #skills do
      hand_out(skills[(turn + now) % #skills + 1])
    end
  end
  publish()
end
