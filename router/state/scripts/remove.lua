-- ARGV: kind, id, expected version. Returns {"OK", version, fleet version, at} or {why not, version}.
-- A backend takes its prices and its health with it, in one change.
local kind, id, expected = ARGV[FIRST], ARGV[FIRST + 1], tonumber(ARGV[FIRST + 2])
local refused = refusal(kind)
if refused then
  return refused
end
local version, doc = stored(kind, id)
if not doc then
  return { 'MISSING', version }
elseif expected ~= version then
  return { 'STALE', version }
end
local changes = {}
if kind == 'backend' then
  bury_dependants(changes, { [id] = true }, {})
end
bury(changes, kind, id)
return { 'OK', version + 1, revise(changes), NOW }
