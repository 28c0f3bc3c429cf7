#!lua flags=allow-oom
-- A part of a topic's past. Also when memory is full.
-- KEYS: its meta and log.
-- ARGV: an epoch in case it has none, its ttl in ms, the offset to begin after ('' for the newest),
-- the offset to end before ('' for the end), how many events, how many bytes of them
-- if they are several.
-- Returns epoch, offset, '1' if nothing between is lost, and the events.
local epoch, offset = open_topic(KEYS[1], KEYS[2], ARGV[1])
prolong(KEYS[1], ARGV[2])
local reply = {epoch, integer(offset), '1'}
local last = offset
if ARGV[4] ~= '' then
  last = math.min(offset, tonumber(ARGV[4]) - 1)
end
local room, entries = tonumber(ARGV[6]), nil
if ARGV[3] ~= '' then
  local first = tonumber(ARGV[3]) + 1
  if first < first_kept(KEYS[2], offset) then
    reply[3] = '0'
    return reply
  end
  if first > last then
    return reply
  end
  entries = redis.call('XRANGE', KEYS[2], integer(first), integer(last), 'COUNT', ARGV[5])
elseif last > 0 then
  entries = redis.call('XREVRANGE', KEYS[2], integer(last), '-', 'COUNT', ARGV[5])
end
for place, entry in ipairs(entries or {}) do
  local event = entry[2][2]
  room = room - #event
  if room < 0 and place > 1 then
    break
  end
  reply[#reply + 1] = event
end
return reply
