#!lua flags=allow-oom
-- What came after a position of a topic. Also when memory is full.
-- KEYS: its meta and log.
-- ARGV: an epoch in case it has none, its ttl in ms, the position's epoch and offset, how many bytes
-- of events to return at most, if they are several, and '1' to return what there is if the position
-- is lost, else ''.
-- Returns epoch, offset, '1' if nothing after the position is lost, the offset after which the events
-- begin, and the events; all strings.
local meta, log = KEYS[1], KEYS[2]
local new_epoch, ttl, since_epoch, since_offset, max_bytes, whatever = unpack(ARGV)
local epoch, offset = open_topic(meta, log, new_epoch)
prolong(meta, ttl)
local reply = {epoch, integer(offset), '0', integer(offset)}
local after, kept, room = tonumber(since_offset), first_kept(log, offset), tonumber(max_bytes)
if since_epoch == epoch and after <= offset and after >= kept - 1 then
  reply[3] = '1'
elseif whatever == '1' then
  after = math.max(tonumber(redis.call('HGET', meta, 'base')), kept - 1)
else
  return reply
end
reply[4] = integer(after)
while after < offset do
  local entries = redis.call('XRANGE', log, integer(after + 1), '+', 'COUNT', 64)
  for _, entry in ipairs(entries) do
    local event = entry[2][2]
    room = room - #event
    if room < 0 and #reply > 4 then
      return reply
    end
    reply[#reply + 1] = event
  end
  if #entries == 0 then
    break
  end
  after = after + #entries
end
return reply
