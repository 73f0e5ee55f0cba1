-- ARGV: kind, id of each tombstone to look at, after the age in seconds from which they are dropped.
-- Drops what is still a tombstone and old by the server's clock. Returns how many.
local before, dropped = TIME[1] - tonumber(ARGV[FIRST]), 0
for position = FIRST + 1, #ARGV, 2 do
  local kind, id = ARGV[position], ARGV[position + 1]
  local version, doc, at = stored(kind, id)
  if version > 0 and not doc and at < before then
    dropped = dropped + redis.call('HDEL', HASH[kind], id)
  end
end
return dropped
