-- Sets totals of usage where they are later than what is there, and numbers the hand-ins of a session.
-- KEYS[1]: the session's number; the others: hours.
-- ARGV: the number that the session knows; "1" where it knows that the server is behind; the seconds that all is kept;
--       then for each total: index of its hour in KEYS, field, numbers (attempts first; they only ever grow).
-- Returns the new number, or -1 where the server is behind the session: then it has lost something, and nothing is set.
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
local known = tonumber(ARGV[1])
if held < known and ARGV[2] ~= '1' then
  return -1
end
for at = 4, #ARGV, 3 do
  local key, field, numbers = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2]
  local there = redis.call('HGET', key, field)
  local attempts = there and string.match(there, '^%d+')
  if not attempts or tonumber(string.match(numbers, '^%d+')) > tonumber(attempts) then
    redis.call('HSET', key, field, numbers)
  end
end
for at = 2, #KEYS do
  redis.call('EXPIRE', KEYS[at], ARGV[3])
end
-- Past what the session knows, also after a loss: an older state that is put back later is behind that as well.
local number = math.max(held, known) + 1
redis.call('SET', KEYS[1], number, 'EX', ARGV[3])
return number
