#!lua flags=allow-oom
-- A part of a topic's past. Also when memory is full.
-- KEYS: its meta and log.
-- ARGV: an epoch in case it has none, its ttl in ms, the offset to begin after ('' for the newest),
-- the offset to end before ('' for the end), how many events, how many bytes of them
-- if they are several.
-- Returns epoch, offset, '1' if nothing between is lost, and the events.
local meta, log = KEYS[1], KEYS[2]
local new_epoch, ttl, after, before, limit, max_bytes = unpack(ARGV)
local epoch, offset = open_topic(meta, log, new_epoch)
prolong(meta, ttl)
local reply = {epoch, integer(offset), '1'}
local last = offset
if before ~= '' then
  last = math.min(offset, tonumber(before) - 1)
end
local room, entries = tonumber(max_bytes), nil
if after ~= '' then
  local first = tonumber(after) + 1
  if first < first_kept(log, offset) then
    reply[3] = '0'
    return reply
  end
  if first > last then
    return reply
  end
  entries = redis.call('XRANGE', log, integer(first), integer(last), 'COUNT', limit)
elseif last > 0 then
  entries = redis.call('XREVRANGE', log, integer(last), '-', 'COUNT', limit)
end
for number, entry in ipairs(entries or {}) do
  local event = entry[2][2]
  room = room - #event
  if room < 0 and number > 1 then
    break
  end
  reply[#reply + 1] = event
end
return reply
