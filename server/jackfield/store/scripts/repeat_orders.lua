#!lua flags=allow-oom
-- Tell an instance again what it has missed of a task that it has. Also when memory is full.
-- ARGV behind those of all: the task, the instance.
-- Returns 'ok'; 'missing': there is no such task, or it is not the instance's.
local id, instance = ARGV[5], ARGV[6]
local t = read(id)
if not t or t.instance ~= instance or ended[t.state] then
  return {'missing'}
end
order_assigned(t)
local input, number = unpack(redis.call('HMGET', t.key, 'answer', 'answers'))
if input then
  order(t, answer_record(t.instance, id, t.attempt, number),
    agent_answered(id, t.attempt, number, input))
end
settle()
return {'ok'}
