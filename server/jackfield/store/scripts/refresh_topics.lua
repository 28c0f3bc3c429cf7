#!lua flags=allow-oom
-- Keep topics that have members from expiring, and say where they stand. Also when memory is full.
-- KEYS: for each topic its meta and log. ARGV: an epoch for those that have none, then their ttls in
-- ms. Returns their epochs and offsets in turn.
local new_epoch, reply = ARGV[1], {}
for i = 2, #ARGV do
  local meta, log, ttl = KEYS[2 * i - 3], KEYS[2 * i - 2], ARGV[i]
  local epoch, offset = open_topic(meta, log, new_epoch)
  prolong(meta, ttl)
  reply[#reply + 1] = epoch
  reply[#reply + 1] = integer(offset)
end
return reply
