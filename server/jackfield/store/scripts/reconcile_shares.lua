#!lua flags=allow-oom
-- Add what a node has charged to shares, and say how much all nodes together have. Also when memory
-- is full: else nobody would know who has filled it.
-- KEYS: the shares' hashes. ARGV: '@' and the node, for how many ms what its connections hold counts; then
-- for each share its limit, what its connections at the node hold, how many pairs follow, and these:
-- a lifetime in s and the bytes charged since the last time.
-- A hash has for each lifetime the bytes that are left, and for each node ('@<node>') what its
-- connections hold; and behind either the time in ms that this was so, or ends.
-- Returns for each share what other nodes hold, then each lifetime and the bytes that are left of it.
local node, ttl, arg, replies = ARGV[1], tonumber(ARGV[2]), 3, {}
for i, share in ipairs(KEYS) do
  local limit, held, pairs_left = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1]), ARGV[arg + 2]
  local added, life = {}, 0
  arg = arg + 3
  for _ = 1, pairs_left do
    added[ARGV[arg]] = tonumber(ARGV[arg + 1])
    arg = arg + 2
  end
  local fields, elsewhere, levels = redis.call('HGETALL', share), 0, {}
  for field = 1, #fields, 2 do
    local name, number, at = fields[field], string.match(fields[field + 1], '(%S+) (%S+)')
    number, at = tonumber(number), tonumber(at)
    if string.sub(name, 1, 1) ~= '@' then
      levels[name] = number - (now - at) * limit / tonumber(name) / 1000
      added[name] = added[name] or 0
    elseif at <= now then
      redis.call('HDEL', share, name)
    elseif name ~= node then
      elsewhere, life = elsewhere + number, math.max(life, at - now)
    end
  end
  local reply = {string.format('%.0f', elsewhere)}
  for lifetime, bytes in pairs(added) do
    local level = math.max(0, math.max(0, levels[lifetime] or 0) + bytes)
    if level < 1 then
      redis.call('HDEL', share, lifetime)
      level = 0
    else
      redis.call('HSET', share, lifetime, string.format('%.0f %.0f', level, now))
      life = math.max(life, math.ceil(level / limit * lifetime * 1000))
    end
    reply[#reply + 1] = lifetime
    reply[#reply + 1] = string.format('%.0f', level)
  end
  if held > 0 then
    redis.call('HSET', share, node, string.format('%.0f %.0f', held, now + ttl))
    life = math.max(life, ttl)
  else
    redis.call('HDEL', share, node)
  end
  if life > 0 then
    redis.call('PEXPIRE', share, string.format('%.0f', life))
  end
  replies[i] = reply
end
return replies
