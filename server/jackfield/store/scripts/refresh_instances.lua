#!lua flags=allow-oom
-- Renew the leases of a node's instances of an agent, and say what they have. Also when memory is full.
-- ARGV behind those of all: the node, for how many ms they are leased and their skills are remembered;
-- then the instances.
-- Returns for each a list: '1' if it is this node's, else ''; then for each of its tasks the task,
-- attempt and how often it was answered.
local node, lease, memory, replies = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), {}
for arg = 8, #ARGV do
  local instance, reply = ARGV[arg], {''}
  local i = redis.call('HMGET', base .. ':i:' .. instance, 'node', 'had')
  if i[1] == node then
    reply[1] = '1'
    redis.call('ZADD', base .. ':leases', now + lease, instance)
    redis.call('PEXPIRE', base .. ':i:' .. instance, ttl)
    for skill in string.gmatch(i[2], '%S+') do
      local work = base .. ':work:' .. skill
      if redis.call('EXISTS', work) == 1 then
        for _, each in ipairs(redis.call('XPENDING', work, 'agents', '-', '+', 1000, instance)) do
          local entry = redis.call('XRANGE', work, each[1], each[1])[1]
          local t = entry and read(entry[2][2])
          if t and t.instance == instance then
            reply[#reply + 1] = t.id
            reply[#reply + 1] = t.attempt
            reply[#reply + 1] = redis.call('HGET', t.key, 'answers') or '0'
          end
        end
      end
    end
    rank(instance)
  end
  replies[#replies + 1] = reply
end
prolong(base .. ':leases', ttl)
if redis.call('EXISTS', base .. ':skills') == 1 then
  prolong(base .. ':skills', memory)
end
settle()
return replies
