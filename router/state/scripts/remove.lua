-- ARGV: actor, max_changes, kind, id, expected version. Returns {status, version, fleet version, at}.
-- A backend takes its prices and its health with it, in one change.
local actor, max_changes, kind, id, expected = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local version, present = stored(kind, id)
if not present then
  return { 'MISSING', version }
elseif expected ~= version then
  return { 'STALE', version }
end
local changes = {}
local function bury(of_kind, of_id)
  local its_version, is_present = stored(of_kind, of_id)
  if is_present then
    changes[#changes + 1] = { kind = of_kind, id = of_id, version = its_version + 1, at = NOW }
  end
end
if kind == 'backend' then
  local prefix = id .. '/'
  for _, price in ipairs(redis.call('HKEYS', HASH.price)) do
    if string.sub(price, 1, #prefix) == prefix then
      bury('price', price)
    end
  end
  bury('health', id)
end
bury(kind, id)
return { 'OK', version + 1, commit(changes, actor, max_changes), NOW }
