#!lua
-- Write a ticket.
-- KEYS: the ticket. ARGV: ttl in ms, what it says as a JSON object without its closing brace.
local time = redis.call('TIME')
local issued = string.format('%.0f.%03d', time[1], math.floor(time[2] / 1000))
redis.call('SET', KEYS[1], ticket(ARGV[2], issued), 'PX', ARGV[1])
