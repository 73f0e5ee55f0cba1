-- ARGV: milliseconds to keep others from writing, how far to raise the fleet version when it is less than SEEN, then
-- kind, id, version, at, doc ("": a tombstone) of each document.
-- Puts back what the server has lost: a document is written when its version is newer than the server's, or when it is
-- the earlier of two with one version: the later was written by somebody who did not know. Several replicas may do so at
-- once, in any order, with the same result. Returns {fleet version, documents written}.
local changes = {}
for position = FIRST + 2, #ARGV, 5 do
  local kind, id, version = ARGV[position], ARGV[position + 1], tonumber(ARGV[position + 2])
  local at, doc = ARGV[position + 3], ARGV[position + 4]
  local its_version, _, its_at = stored(kind, id)
  if version > its_version or (version == its_version and tonumber(at) < its_at) then
    changes[#changes + 1] = { kind = kind, id = id, version = version, at = at, doc = doc ~= '' and doc or nil }
  end
end
local fleet = fleet_version()
if #changes == 0 and fleet >= SEEN then
  return { fleet, 0 }
end
redis.call('SET', REBUILDING, '1', 'PX', ARGV[FIRST])
if fleet < SEEN then
  fleet = SEEN + tonumber(ARGV[FIRST + 1])
  redis.call('SET', CONFIG, string.format('%d', fleet))
end
return { commit(changes, fleet), #changes }
