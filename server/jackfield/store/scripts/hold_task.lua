#!lua flags=allow-oom
-- Have the instance that has a task wait for a slow caller, or go on. Also when memory is full.
-- ARGV behind those of all: the task, the caller's node, '1' if the caller can't keep up, else ''.
-- Returns 'ok'; 'missing'; 'ended' and the state.
local id, node, wait = ARGV[5], ARGV[6], ARGV[7] == '1'
local t = read(id)
if not t then
  return {'missing'}
elseif ended[t.state] then
  return {'ended', t.state}
end
local slow = redis.call('HGET', t.key, 'slow')
if wait then
  redis.call('HSET', t.key, 'slow', node)
elseif slow == node then
  redis.call('HDEL', t.key, 'slow')
end
if t.instance ~= '' and (wait or slow == node) then
  order(t, order_record(t.instance, id, t.attempt, wait and 'hold' or 'go'), '')
end
settle()
return {'ok'}
