-- ARGV: actor, max_changes, kind, id, expected version, doc. Returns {status, version, fleet version, at}.
-- Expected 0: the document must not be there. A removed one may be put back with the version of its tombstone.
local actor, max_changes, kind, id, expected, doc = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
local version, present = stored(kind, id)
if expected == 0 and present then
  return { 'EXISTS', version }
elseif expected ~= 0 and not present and expected ~= version then
  return { 'MISSING', version }
elseif expected ~= 0 and expected ~= version then
  return { 'STALE', version }
elseif not has_parent(kind, id) then
  return { 'NO_BACKEND', version }
end
local change = { kind = kind, id = id, version = version + 1, at = NOW, doc = doc }
return { 'OK', change.version, commit({ change }, actor, max_changes), NOW }
