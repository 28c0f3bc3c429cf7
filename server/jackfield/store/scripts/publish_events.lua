#!lua
-- Publish events to any number of topics, each event once.
-- KEYS: for each topic its channel, meta and log, then a key for each event that has one.
-- ARGV: an epoch for topics that have none, how long keys are remembered in ms; then for each topic
-- the start of its events up to the offset, how many to keep, its ttl in ms and how many events
-- follow; then for each of these its rest, and '1' if it has a key, else ''.
-- Returns for each event its epoch and offset, as one string.
-- What makes keys and messages here are templates: see store/lua.py.
local new_epoch, key_ttl = ARGV[1], ARGV[2]
local positions, key, arg = {}, 1, 3
while key <= #KEYS do
  local channel, meta, log = KEYS[key], KEYS[key + 1], KEYS[key + 2]
  local head, keep, ttl, count = unpack(ARGV, arg, arg + 3)
  keep = tonumber(keep)
  key, arg = key + 3, arg + 4
  local epoch, offset = open_topic(meta, log, new_epoch)
  local first, sizes, events = offset + 1, {}, {}
  for _ = 1, count do
    local tail, has_key = ARGV[arg], ARGV[arg + 1] == '1'
    local once, position = nil, false
    arg = arg + 2
    if has_key then
      once, key = KEYS[key], key + 1
      position = redis.call('GET', once)
    end
    if not position then
      offset = offset + 1
      local number = integer(offset)
      local event = head .. number .. tail
      position = epoch .. ' ' .. number
      if keep > 0 then
        redis.call('XADD', log, 'MAXLEN', '=', keep, number .. '-0', 'e', event)
      end
      if once then
        redis.call('SET', once, position, 'PX', key_ttl)
      end
      sizes[#sizes + 1] = #event
      events[#events + 1] = event
    end
    positions[#positions + 1] = position
  end
  if #events > 0 then
    redis.call('HSET', meta, 'offset', integer(offset))
    redis.call('PEXPIRE', log, ttl)
    redis.call('SPUBLISH', channel,
      events_message(epoch, integer(first), table.concat(sizes, ','), table.concat(events)))
  end
  redis.call('PEXPIRE', meta, ttl)
end
return positions
