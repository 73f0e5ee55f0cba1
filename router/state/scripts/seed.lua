-- ARGV: kind, id, doc of each document, backends before their prices.
-- Writes those that never existed: neither a document that is there nor one that was removed is touched.
-- Returns {fleet version, index from 0 of each document written...}.
local changes, written, seeded = {}, {}, {}
for position = FIRST, #ARGV, 3 do
  local kind, id, doc = ARGV[position], ARGV[position + 1], ARGV[position + 2]
  local parent = parent_of(kind, id)
  if stored(kind, id) == 0 and (not parent or seeded[parent] or has_parent(kind, id)) then
    changes[#changes + 1] = { kind = kind, id = id, version = 1, at = NOW, doc = doc }
    written[#written + 1] = (position - FIRST) / 3
    seeded[id] = kind == 'backend' or seeded[id]
  end
end
-- Not `unpack`, which has a limit: the list of what was written becomes the answer.
table.insert(written, 1, #changes > 0 and revise(changes) or fleet_version())
return written
