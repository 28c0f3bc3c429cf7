#!lua flags=allow-oom
-- What a caller, or its node, wants of a task. Also when memory is full.
-- ARGV behind those of all: the task, and
-- 'cancel', the error in JSON; 'expire', which is for its deadline;
-- 'answer', the input in JSON, an idempotency key or '';
-- 'hold', the caller's node, '1' if the caller can't keep up, else '';
-- 'follow', the node that wants to be told; 'order', the instance that has missed it.
-- Returns 'ok', and for 'follow' epoch and offset of the topic, and how many ms the task has left;
-- 'missing'; 'ended' or 'illegal' and the state; 'early' and how many ms are left.
local id, verb, a, b = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local t = read(id)
if not t then
  return {'missing'}
end
if verb == 'follow' then
  if not string.find(' ' .. t.nodes .. ' ', ' ' .. a .. ' ', 1, true) then
    redis.call('HSET', t.key, 'nodes', t.nodes .. ' ' .. a)
  end
  local channel = task_channel(agent, id)
  local epoch, offset = open_topic(topic_meta_key(channel), topic_log_key(channel), new_epoch)
  return {'ok', epoch, integer(offset), integer(math.max(t.deadline - now, 0))}
end
if verb == 'order' then
  if t.instance ~= a or ended[t.state] then
    return {'missing'}
  end
  order_assigned(t)
  local input, number = unpack(redis.call('HMGET', t.key, 'answer', 'answers'))
  if input then
    order_answered(t, number, input)
  end
elseif ended[t.state] then
  return {'ended', t.state}
elseif verb == 'cancel' then
  stop(t, 'canceled', a)
elseif verb == 'expire' then
  if now < t.deadline then
    return {'early', integer(t.deadline - now)}
  end
  stop(t, 'failed', task_timed_out(t.id))
elseif verb == 'answer' then
  if b ~= '' and redis.call('HGET', t.key, 'answered') == b then
    return {'ok'}
  elseif not asking[t.state] then
    return {'illegal', t.state}
  end
  redis.call('HDEL', t.key, 'prompt')
  redis.call('HSET', t.key, 'answer', a, 'answered', b)
  local number = redis.call('HINCRBY', t.key, 'answers', 1)
  redis.call('ZADD', due, t.deadline, id)
  change(t, 'working')
  order_answered(t, number, a)
elseif verb == 'hold' then
  local slow = redis.call('HGET', t.key, 'slow')
  if b == '1' then
    redis.call('HSET', t.key, 'slow', a)
  elseif slow == a then
    redis.call('HDEL', t.key, 'slow')
  end
  if t.instance ~= '' and (b == '1' or slow == a) then
    order(t, order_record(t.instance, id, t.attempt, b == '1' and 'hold' or 'go'), '')
  end
end
settle()
return {'ok'}
