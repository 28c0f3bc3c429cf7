#!lua flags=allow-oom
-- Have a node be told what becomes of a task. Also when memory is full.
-- ARGV behind those of all: the task, the node.
-- Returns 'ok', epoch and offset of the task's topic, and how many ms the task has left; 'missing'.
local id, node = ARGV[5], ARGV[6]
local t = read(id)
if not t then
  return {'missing'}
end
if not string.find(' ' .. t.nodes .. ' ', ' ' .. node .. ' ', 1, true) then
  redis.call('HSET', t.key, 'nodes', t.nodes .. ' ' .. node)
end
local channel = task_channel(agent, id)
local epoch, offset = open_topic(topic_meta_key(channel), topic_log_key(channel), new_epoch)
return {'ok', epoch, integer(offset), integer(math.max(t.deadline - now, 0))}
