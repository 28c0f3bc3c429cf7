#!lua flags=allow-oom
-- Keep topics that have members from expiring, and say where they stand. Also when memory is full.
-- KEYS: for each topic its meta and log. ARGV: an epoch for those that have none, then their ttls in
-- ms. Returns their epochs and offsets in turn.
local reply = {}
for i = 1, #KEYS, 2 do
  local epoch, offset = open_topic(KEYS[i], KEYS[i + 1], ARGV[1])
  prolong(KEYS[i], ARGV[(i + 3) / 2])
  reply[#reply + 1] = epoch
  reply[#reply + 1] = integer(offset)
end
return reply
