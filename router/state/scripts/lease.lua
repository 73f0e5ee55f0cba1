-- One replica's round over the leases. KEYS: leases, replicas, token counter.
-- ARGV: owner, "renew" or "release", ttl_ms, silent_ms, shards, expire_s.
-- Takes its fair share of the free and expired shards, gives back what is beyond it, renews the rest.
-- Returns {live replicas, then of each shard that it now has: shard, token}.
local LEASES, REPLICAS, TOKEN = KEYS[1], KEYS[2], KEYS[3]
local owner, ttl, silent, shards = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local TIME = redis.call('TIME')
local now = TIME[1] * 1000 + math.floor(TIME[2] / 1000)

local live = redis.call('ZCOUNT', REPLICAS, string.format('%d', now - silent), '+inf')
local beat = redis.call('ZSCORE', REPLICAS, owner)
if not beat or tonumber(beat) < now - silent then
  live = live + 1
end
local fair = math.ceil(shards / live)

local flat = redis.call('HGETALL', LEASES)
local held = {}
for index = 1, #flat, 2 do
  held[flat[index]] = flat[index + 1]
end
local mine, free = {}, {}
for shard = 0, shards - 1 do
  local lease = held[tostring(shard)]
  local token, whose, expires = string.match(lease or '', '^(%d+):(.*):(%d+)$')
  if whose == owner then
    mine[#mine + 1] = { shard, token }
  elseif not whose or tonumber(expires) <= now or tonumber(expires) > now + ttl then
    -- One that expires later than any lease can is of a server whose clock was ahead.
    free[#free + 1] = shard
  end
end

local keep = ARGV[2] == 'release' and 0 or fair
while #mine > keep do
  redis.call('HDEL', LEASES, table.remove(mine)[1])
end
if #mine < keep and #free > 0 then
  -- Never below the time, so that a server that lost the counter does not hand out a token again.
  local last = math.max(tonumber(redis.call('GET', TOKEN) or 0), TIME[1] * 1000000 + TIME[2])
  for _, shard in ipairs(free) do
    if #mine == keep then
      break
    end
    last = last + 1
    mine[#mine + 1] = { shard, string.format('%.0f', last) }
  end
  redis.call('SET', TOKEN, string.format('%.0f', last))
end

local answer = { live }
if #mine > 0 then
  local fields = {}
  local expires = string.format('%d', now + ttl)
  for _, lease in ipairs(mine) do
    fields[#fields + 1] = lease[1]
    fields[#fields + 1] = lease[2] .. ':' .. owner .. ':' .. expires
    answer[#answer + 1] = lease[1]
    answer[#answer + 1] = lease[2]
  end
  redis.call('HSET', LEASES, unpack(fields))
  redis.call('EXPIRE', LEASES, ARGV[6])
end
return answer
