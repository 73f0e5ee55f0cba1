-- KEYS as common.lua. ARGV: id and time of the newest revision that the caller has ("0-0", "": none).
-- Everything at one version: {fleet version, config version, 1 when the history is whole and 0 when it goes on from the
-- caller's, revisions, then HGETALL of each hash in the order of KEYS}.
local known = redis.call('XRANGE', KEYS[4], ARGV[1], ARGV[1])[1]
local goes_on = known and known[2][4] == ARGV[2]
local revisions = redis.call('XRANGE', KEYS[4], goes_on and '(' .. ARGV[1] or '-', '+')
local version, config = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[3])
local reply = { version or '0', config or '0', goes_on and 0 or 1, revisions }
for position = 7, #KEYS do
  reply[#reply + 1] = redis.call('HGETALL', KEYS[position])
end
return reply
