#!lua flags=allow-oom
-- What instances say of their tasks. Also when memory is full.
-- ARGV behind those of all: for each its kind, the task, the instance, the attempt, and
-- for 'update' the number of its first chunk, how many they are, the chunks joined by commas, the new
-- state or '', what it asks for in JSON, and for how many ms;
-- for 'end' the state, 'output' or 'error', and its value in JSON.
-- Returns for each a list: 'ok', state, how many chunks there are, '1' if the caller can't keep up;
-- 'missing': no such task, or not its own; 'ended' and the state: it has ended, or is at a later
-- attempt; 'part' or 'ahead' and how many chunks there are: it has some of these, or not all before
-- them; 'illegal' and the state; 'full'.
local replies = {}
local function update(t, seq, count, chunks, state, prompt, expires)
  if count > 0 then
    if seq > t.seq then
      return {'ahead', t.state, t.seq}
    elseif seq + count > t.seq and seq < t.seq then
      return {'part', t.state, t.seq}
    elseif seq == t.seq then
      -- Some are left for the states to come.
      if redis.call('XLEN', topic_log_key(task_channel(agent, t.id))) >= keep - 16 then
        return {'full', t.state}
      end
      append(t, task_chunks(integer(seq), chunks))
      t.seq = seq + count
      redis.call('HSET', t.key, 'seq', integer(t.seq))
    end
  end
  if state ~= '' and (state ~= t.state or asking[state]) then
    if asking[state] and t.state == 'working' then
      local ends = math.min(now + tonumber(expires), t.deadline)
      prompt = task_prompt(string.sub(prompt, 1, -2), seconds(ends))
      redis.call('HSET', t.key, 'prompt', prompt)
      redis.call('ZADD', due, ends, t.id)
      change(t, state, 'prompt', prompt)
    elseif state == 'working' and asking[t.state] then
      redis.call('HDEL', t.key, 'prompt')
      redis.call('ZADD', due, t.deadline, t.id)
      change(t, state)
    else
      return {'illegal', t.state}
    end
  end
  local slow = redis.call('HGET', t.key, 'slow')
  return {'ok', t.state, t.seq, slow and hears(slow) and '1' or ''}
end
-- Why an instance has no say in a task, if it has none.
local function refusal(t, instance, attempt)
  if not t or t.instance ~= instance then
    return {'missing'}
  elseif ended[t.state] or t.attempt ~= attempt then
    return {'ended', t.state}
  end
end
-- Whether an instance says again how it has ended a task: its reply was lost.
local function is_repeated(t, instance, attempt, state)
  return t and t.instance == instance and t.attempt == attempt and t.state == state and ended[state]
    and redis.call('HGET', t.key, 'by') == instance
end
local arg = 5
while ARGV[arg] do
  local kind, id, instance, attempt = unpack(ARGV, arg, arg + 3)
  local t, reply = read(id), nil
  if kind == 'update' then
    local seq, count, chunks, state, prompt, expires = unpack(ARGV, arg + 4, arg + 9)
    arg = arg + 10
    reply = refusal(t, instance, attempt)
      or update(t, tonumber(seq), tonumber(count), chunks, state, prompt, expires)
  else
    local state, field, value = unpack(ARGV, arg + 4, arg + 6)
    arg = arg + 7
    if is_repeated(t, instance, attempt, state) then
      reply = {'ok', t.state, t.seq, ''}
    else
      reply = refusal(t, instance, attempt)
      if not reply then
        finish(t, state, field, value, instance)
        reply = {'ok', t.state, t.seq, ''}
      end
    end
  end
  replies[#replies + 1] = reply
end
settle()
return replies
