-- Moves counters of an hour that is over from their fields into one packed field, all or nothing.
-- KEYS: the hour, its packed fields. ARGV: name of the packed field, what goes into it ("" for nothing), seconds to keep,
--       then field and value of each counter as they were read.
-- Returns 1, or 0 where one of them has changed since: then nothing is done.
for at = 4, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[at]) ~= ARGV[at + 1] then
    return 0
  end
end
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
  redis.call('EXPIRE', KEYS[2], ARGV[3])
end
for at = 4, #ARGV, 2 do
  redis.call('HDEL', KEYS[1], ARGV[at])
end
return 1
