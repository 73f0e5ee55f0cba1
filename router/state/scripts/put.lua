-- ARGV: kind, id, expected version, doc, then of a fence: shard, token, owner ("": no fence).
-- Returns {"OK", version, fleet version, at} or {why not, version}.
-- Expected 0: the document must not be there. A removed one may be put back with the version of its tombstone.
local kind, id, expected, doc = ARGV[FIRST], ARGV[FIRST + 1], tonumber(ARGV[FIRST + 2]), ARGV[FIRST + 3]
local shard, token, owner = ARGV[FIRST + 4], tonumber(ARGV[FIRST + 5]), ARGV[FIRST + 6]
local refused = refusal(kind)
if refused then
  return refused
end
local version, before = stored(kind, id)
if expected == 0 and before then
  return { 'EXISTS', version }
elseif expected ~= 0 and not before and expected ~= version then
  return { 'MISSING', version }
elseif expected ~= 0 and expected ~= version then
  return { 'STALE', version }
elseif not has_parent(kind, id) then
  return { 'NO_BACKEND', version }
end
if shard ~= '' then
  local lease = redis.call('HGET', LEASES, shard)
  local its_token, its_owner = string.match(lease or '', '^(%d+):(.*):%d+$')
  if its_token and (tonumber(its_token) > token or its_owner ~= owner) then
    return { 'FENCED', version }
  end
end
local change = { kind = kind, id = id, version = version + 1, at = NOW, doc = doc, before = before }
return { 'OK', change.version, revise({ change }), NOW }
