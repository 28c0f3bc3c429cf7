-- The part that scripts of topics share: the epoch and offset of a topic.
-- A server process other than the one that wrote them may have lost the tail, after a restart or as
-- the replica that took over: offsets go on from where it is, in a new epoch.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local function integer(number)
  return string.format('%.0f', number)
end
local function open_topic(meta, log, new_epoch)
  local state = redis.call('HMGET', meta, 'epoch', 'offset', 'run')
  if state[3] == run then
    return state[1], tonumber(state[2])
  end
  local offset = '0'
  if state[1] then
    offset = state[2]
  else
    redis.call('DEL', log)
  end
  redis.call('HSET', meta, 'epoch', new_epoch, 'offset', offset, 'base', offset, 'run', run)
  return new_epoch, tonumber(offset)
end
local function first_kept(log, offset)
  local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  return first and tonumber(string.match(first[1], '%d+')) or offset + 1
end
-- Have a key live for at least so many ms.
local function prolong(key, ms)
  if redis.call('PTTL', key) < tonumber(ms) then
    redis.call('PEXPIRE', key, integer(ms))
  end
end
