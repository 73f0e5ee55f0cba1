-- KEYS as common.lua. Everything at one version: {fleet version, config version, then HGETALL of each hash in the order of KEYS}.
local version = redis.call('GET', KEYS[1])
local reply = { version or '0', redis.call('GET', KEYS[3]) or '0' }
for position = 4, #KEYS do
  reply[#reply + 1] = redis.call('HGETALL', KEYS[position])
end
return reply
