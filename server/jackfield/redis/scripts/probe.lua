#!lua flags=allow-oom
-- Publish a probe, which the node that sent it must hear.
-- KEYS: the channel. ARGV: the probe.
redis.call('SPUBLISH', KEYS[1], ARGV[1])
