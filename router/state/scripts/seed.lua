-- ARGV: actor, max_changes, then kind, id, doc of each document, backends before their prices.
-- Writes those that never existed: neither a document that is there nor one that was removed is touched.
-- Returns {fleet version, index from 0 of each document written...}.
local changes, written, seeded = {}, {}, {}
for position = 3, #ARGV, 3 do
  local kind, id, doc = ARGV[position], ARGV[position + 1], ARGV[position + 2]
  local parent = seeded[string.match(id, '^[^/]*')] or has_parent(kind, id)
  if parent and stored(kind, id) == 0 then
    changes[#changes + 1] = { kind = kind, id = id, version = 1, at = NOW, doc = doc }
    written[#written + 1] = (position - 3) / 3
    seeded[id] = kind == 'backend' or seeded[id]
  end
end
if #changes == 0 then
  return { fleet_version() }
end
return { commit(changes, ARGV[1], ARGV[2]), unpack(written) }
