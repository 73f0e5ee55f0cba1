-- ARGV: actor, max_changes, fleet version of the snapshot, then kind, id, version, at ("": now), doc ("": a tombstone).
-- Puts back what the server has lost: a document is written when its version is newer than the server's. Several
-- replicas may do so at once, in any order, with the same result. Returns {fleet version, documents written}.
local known = tonumber(ARGV[3])
local changes = {}
for position = 4, #ARGV, 5 do
  local kind, id, version = ARGV[position], ARGV[position + 1], tonumber(ARGV[position + 2])
  local at, doc = ARGV[position + 3], ARGV[position + 4]
  if version > stored(kind, id) then
    changes[#changes + 1] = {
      kind = kind, id = id, version = version, at = at ~= '' and at or NOW, doc = doc ~= '' and doc or nil,
    }
  end
end
if #changes == 0 and fleet_version() >= known then
  return { fleet_version(), 0 }
end
return { commit(changes, ARGV[1], ARGV[2], known), #changes }
