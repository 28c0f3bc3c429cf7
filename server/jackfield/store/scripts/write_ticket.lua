#!lua
-- Write a ticket.
-- KEYS: the ticket. ARGV: ttl in ms, what it says as a JSON object without its closing brace.
-- What makes keys and messages here are templates: see store/lua.py.
local key, ttl, grant = KEYS[1], ARGV[1], ARGV[2]
redis.call('SET', key, ticket(grant, seconds(now)), 'PX', ttl)
