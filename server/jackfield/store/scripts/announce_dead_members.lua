-- The part of scripts of presence that removes the members of dead nodes, and announces that they have
-- left: whichever script touches the topic first after a node's time has run out. Needs `presence`.
local function announce_dead_members(head)
  for _, node in ipairs(redis.call('ZRANGE', nodes, '-inf', now, 'BYSCORE')) do
    for _, member in ipairs(redis.call('HKEYS', topic_here_key(channel, node))) do
      count(node, member, 0, head, '{}')
    end
    redis.call('ZREM', nodes, node)
  end
end
