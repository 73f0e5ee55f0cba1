-- One replica's beat. KEYS: beats, replicas. ARGV: replica, payload ("" is a goodbye), silent_ms, expire_s.
-- Returns {server's Unix time, then of each other live replica: id, age in ms, payload}.
local BEATS, REPLICAS = KEYS[1], KEYS[2]
local replica, payload, silent = ARGV[1], ARGV[2], tonumber(ARGV[3])
local TIME = redis.call('TIME')
local now = TIME[1] * 1000 + math.floor(TIME[2] / 1000)
local answer = { string.format('%d.%06d', TIME[1], TIME[2]) }

if payload == '' then
  redis.call('ZREM', REPLICAS, replica)
  redis.call('HDEL', BEATS, replica)
  return answer
end
redis.call('ZADD', REPLICAS, string.format('%d', now), replica)
redis.call('HSET', BEATS, replica, payload)

-- A beat from the future is of a server whose clock was ahead; the living beat again within a tenth of a second.
local function bury(from, to)
  local dead = redis.call('ZRANGEBYSCORE', REPLICAS, from, to, 'LIMIT', 0, 1000)
  if #dead > 0 then
    redis.call('ZREM', REPLICAS, unpack(dead))
    redis.call('HDEL', BEATS, unpack(dead))
  end
end
bury('-inf', string.format('(%d', now - silent))
bury(string.format('(%d', now + silent), '+inf')
redis.call('EXPIRE', BEATS, ARGV[4])
redis.call('EXPIRE', REPLICAS, ARGV[4])

local live = redis.call('ZRANGE', REPLICAS, 0, 999, 'WITHSCORES')
for index = 1, #live, 2 do
  local id = live[index]
  if id ~= replica then
    local said = redis.call('HGET', BEATS, id)
    if said then
      answer[#answer + 1] = id
      answer[#answer + 1] = now - tonumber(live[index + 1])
      answer[#answer + 1] = said
    end
  end
end
return answer
