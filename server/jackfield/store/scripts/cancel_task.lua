#!lua flags=allow-oom
-- End a task as canceled. Also when memory is full.
-- ARGV behind those of all: the task, the error in JSON.
-- Returns 'ok'; 'missing'; 'ended' and the state.
local id, err = ARGV[5], ARGV[6]
local t = read(id)
if not t then
  return {'missing'}
elseif ended[t.state] then
  return {'ended', t.state}
end
stop(t, 'canceled', err)
settle()
return {'ok'}
