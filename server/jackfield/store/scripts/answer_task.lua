#!lua flags=allow-oom
-- Answer what a task asks for. Also when memory is full.
-- ARGV behind those of all: the task, the input in JSON, an idempotency key or ''.
-- Returns 'ok'; 'missing'; 'ended' or 'illegal' and the state.
local id, input, key = unpack(ARGV, 5, 7)
local t = read(id)
if not t then
  return {'missing'}
elseif ended[t.state] then
  return {'ended', t.state}
elseif key ~= '' and redis.call('HGET', t.key, 'answered') == key then
  return {'ok'}
elseif not asking[t.state] then
  return {'illegal', t.state}
end
redis.call('HDEL', t.key, 'prompt')
redis.call('HSET', t.key, 'answer', input, 'answered', key)
local number = redis.call('HINCRBY', t.key, 'answers', 1)
redis.call('ZADD', due, t.deadline, id)
change(t, 'working')
order(t, answer_record(t.instance, id, t.attempt, number),
  agent_answered(id, t.attempt, number, input))
settle()
return {'ok'}
