#!lua flags=allow-oom
-- What instances say of their tasks. Also when memory is full.
-- ARGV behind those of all: for each its kind, the task, the instance, the attempt, and
-- for 'update' the number of its first chunk, how many they are, the chunks joined by commas, the new
-- state or '', what it asks for in JSON, and for how many ms;
-- for 'end' the state, 'output' or 'error', its value in JSON, and three that are empty.
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
for arg = 5, #ARGV, 10 do
  local kind, id, instance, attempt, a, b, c, d, e, f = unpack(ARGV, arg, arg + 9)
  local t = read(id)
  local reply
  if not t or t.instance ~= instance then
    reply = {'missing'}
  elseif kind == 'end' and ended[t.state] and t.state == a and t.attempt == attempt
    and redis.call('HGET', t.key, 'by') == instance then
    reply = {'ok', t.state, t.seq, ''}  -- said again
  elseif ended[t.state] or t.attempt ~= attempt then
    reply = {'ended', t.state}
  elseif kind == 'update' then
    reply = update(t, tonumber(a), tonumber(b), c, d, e, f)
  else
    finish(t, a, b, c, instance)
    reply = {'ok', t.state, t.seq, ''}
  end
  replies[#replies + 1] = reply
end
settle()
return replies
