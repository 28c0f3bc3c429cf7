#!lua
-- Call an agent, any number of times.
-- ARGV behind those of all: how many calls may wait, and how many of one caller; then for each call
-- its id, skill, the digest of the skill that its input was checked by, the start of what is told of
-- it, its input, its timeout in ms, the caller's node ('' if it doesn't follow), the caller, who else
-- may see it, its idempotency key or '', '1' if the skill is idempotent, for how many ms it is kept
-- after its end, and whose share it is taken of, or ''.
-- Returns for each a list: 'ok', epoch and offset of its topic; 'same' and the id of the task that has
-- the key; 'unknown' or 'stale': there is no such skill, or it is another by now; 'full'; 'share': too
-- many of this caller's wait.
local max_waiting, max_share, replies, arg = tonumber(ARGV[5]), tonumber(ARGV[6]), {}, 7
-- Why no more may wait, if so.
local function refusal(payer)
  if tonumber(redis.call('HGET', agent_meta, 'waiting') or 0) >= max_waiting then
    return 'full'
  elseif payer ~= '' and tonumber(redis.call('HGET', callers, payer) or 0) >= max_share then
    return 'share'
  end
end
while ARGV[arg] do
  local id, skill, digest, brief, input = unpack(ARGV, arg, arg + 4)
  local timeout, node, caller, watchers, key, idempotent, kept, payer = unpack(ARGV, arg + 5, arg + 12)
  arg = arg + 13
  local once = task_once_key(agent, key)
  local same = key ~= '' and redis.call('GET', once)
  local skill_now = not same and redis.call('HGET', agent_skills_key(agent), skill)
  local reply
  if same then
    reply = {'same', same}
  elseif not skill_now then
    reply = {'unknown'}
  elseif string.sub(skill_now, 1, #digest) ~= digest then
    reply = {'stale'}
  elseif refusal(payer) then
    settle()  -- some of this call's own may be handed out
    topics, nodes, touched = {}, {}, {}
    local word = refusal(payer)
    reply = word and {word}
  end
  if not reply then
    local deadline = now + tonumber(timeout)
    brief = task_brief(brief, seconds(now), seconds(deadline))
    local t = {
      id = id, key = task_key(agent, id), state = 'submitted', skill = skill, attempt = '0', seq = 0,
      nodes = node, deadline = deadline, work = work_key(agent, skill), payer = payer,
    }
    redis.call('HSET', t.key, 'state', 'submitted', 'skill', skill, 'attempt', '0', 'seq', '0', 'nodes',
      node, 'deadline', integer(deadline), 'idempotent', idempotent, 'brief', brief, 'input', input,
      'caller', caller, 'watchers', watchers, 'kept', kept, 'payer', payer)
    local life = integer(tonumber(timeout) + ttl)
    redis.call('PEXPIRE', t.key, life)
    redis.call('ZADD', due, deadline, id)
    prolong(due, tonumber(life))
    if key ~= '' then
      redis.call('SET', once, id, 'PX', life)
    end
    reply = {'ok', append(t, task_created(brief, input))}
    queue(t)
  end
  replies[#replies + 1] = reply
end
settle()
return replies
