#!lua flags=allow-oom
-- Do what is due: give up instances whose lease has ended, and tasks whose time has. Also when memory is
-- full. No ARGV but those of all.
-- Returns in how many ms the next is due; -1 if nothing is.
local most = 100  -- of a call: Redis does nothing else meanwhile
local leases, due = base .. ':leases', base .. ':due'
for _, instance in ipairs(redis.call('ZRANGEBYSCORE', leases, 0, now, 'LIMIT', 0, most)) do
  drop_instance(instance)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, 0, now, 'LIMIT', 0, most)) do
  local t = read(id)
  if not t or ended[t.state] then
    redis.call('ZREM', due, id)
  elseif now < t.deadline then
    stop(t, 'failed', fault(t, 'timeout', 'Nobody has answered in time.', 'true'))
  else
    stop(t, 'failed', fault(t, 'timeout', 'The task did not end in time.', 'true'))
  end
end
settle()
local next_due = -1
for _, key in ipairs({leases, due}) do
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if first then
    local left = math.max(tonumber(first) - now, 0)
    next_due = next_due < 0 and left or math.min(next_due, left)
  end
end
return math.floor(next_due)
