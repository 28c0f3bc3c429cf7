#!lua flags=allow-oom
-- An instance takes no more tasks; without any it is gone. Also when memory is full.
-- ARGV behind those of all: the instance, its node, '1' if its connection has ended, and for how many ms
-- it may still come back to tasks that it has.
local instance, node, has_left, lease = ARGV[5], ARGV[6], ARGV[7] == '1', tonumber(ARGV[8])
local key = instance_key(agent, instance)
local node_now, running = unpack(redis.call('HMGET', key, 'node', 'running'))
if node_now == node then
  withdraw(instance)
  redis.call('HSET', key, 'leaving', '1')  -- until it registers again
  if has_left and running == '0' then
    drop_instance(instance)
  elseif has_left then
    redis.call('ZADD', leases, now + lease, instance)
  end
  settle()
end
return redis.status_reply('OK')
