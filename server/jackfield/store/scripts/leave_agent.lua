#!lua flags=allow-oom
-- An instance takes no more tasks; without any it is gone. Also when memory is full.
-- ARGV behind those of all: the instance, its node, '1' if its connection has ended, and for how many ms
-- it may still come back to tasks that it has.
local instance, node, left, lease = unpack(ARGV, 5, 8)
local i = redis.call('HMGET', instance_key(agent, instance), 'node', 'running')
if i[1] == node then
  withdraw(instance)
  redis.call('HSET', instance_key(agent, instance), 'leaving', '1')  -- until it registers again
  if left ~= '' and i[2] == '0' then
    drop_instance(instance)
  elseif left ~= '' then
    redis.call('ZADD', leases, now + tonumber(lease), instance)
  end
  settle()
end
return redis.status_reply('OK')
