#!lua flags=allow-oom
-- Do what is due: give up instances whose lease has ended, and tasks whose time has. Also when memory is
-- full. No ARGV but those of all.
local limit = 100  -- of a call: Redis does nothing else meanwhile
for _, instance in ipairs(redis.call('ZRANGEBYSCORE', leases, 0, now, 'LIMIT', 0, limit)) do
  drop_instance(instance)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, 0, now, 'LIMIT', 0, limit)) do
  local t = read(id)
  if not t or ended[t.state] then
    redis.call('ZREM', due, id)
  elseif now < t.deadline then
    stop(t, 'failed', answer_timed_out(t.id))
  else
    stop(t, 'failed', task_timed_out(t.id))
  end
end
settle()
return redis.status_reply('OK')
