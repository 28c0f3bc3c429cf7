#!lua flags=allow-oom
-- End a task whose deadline has passed. Also when memory is full.
-- ARGV behind those of all: the task.
-- Returns 'ok'; 'missing'; 'ended' and the state; 'early' and how many ms are left.
local t = read(ARGV[5])
if not t then
  return {'missing'}
elseif ended[t.state] then
  return {'ended', t.state}
elseif now < t.deadline then
  return {'early', integer(t.deadline - now)}
end
stop(t, 'failed', task_timed_out(t.id))
settle()
return {'ok'}
