-- The part that scripts of presence share.
-- KEYS: channel, nodes, who, info. The version of the members stands in `who` under '': it begins
-- at the server's time in us, so that it never goes back, not even when all is lost.
-- What makes keys and messages here are templates: see store/lua.py.
local channel, nodes, who, info = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local version = redis.call('HGET', who, '')
if not version then
  version = string.format('%d%06d', time[1], time[2])
  redis.call('HSET', who, '', version)
end
version = tonumber(version)
local first, sizes, messages = version + 1, {}, {}
local function announce(message)
  version = version + 1
  sizes[#sizes + 1] = #message
  messages[#messages + 1] = message
end
local function count(node, member, connections, head, seen)
  local here = topic_here_key(channel, node)
  local before = tonumber(redis.call('HGET', here, member) or 0)
  if connections == before then
    return
  end
  if connections == 0 then
    redis.call('HDEL', here, member)
  else
    redis.call('HSET', here, member, connections)
  end
  local total = redis.call('HINCRBY', who, member, connections - before)
  if total <= 0 then
    announce(presence_left(head, redis.call('HGET', info, member) or seen))
    redis.call('HDEL', who, member)
    redis.call('HDEL', info, member)
  elseif connections > before then
    redis.call('HSET', info, member, seen)
    if total == connections - before then
      announce(presence_joined(head, seen))
    end
  end
end
local function finish(ttl)
  if #messages > 0 then
    redis.call('HSET', who, '', string.format('%.0f', version))
    redis.call('SPUBLISH', channel, presence_message(
      string.format('%.0f', first), table.concat(sizes, ','), table.concat(messages)))
  end
  for _, key in ipairs({nodes, who, info}) do
    redis.call('PEXPIRE', key, 2 * ttl)
  end
  for _, node in ipairs(redis.call('ZRANGE', nodes, 0, -1)) do
    redis.call('PEXPIRE', topic_here_key(channel, node), 2 * ttl)
  end
  return string.format('%.0f', version)
end
