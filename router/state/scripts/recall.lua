-- ARGV: id, at, actor, origin, action, note, changes of each revision, oldest first.
-- Puts back revisions that the server has lost, in their order among those that it has; of two with one id the earlier
-- stays. Several replicas may do so at once, in any order. Returns how many were put back.
local newest = redis.call('XREVRANGE', HISTORY, '+', '-', 'COUNT', 1)[1]
local last = newest and tonumber(string.match(newest[1], '^%d+')) or 0
local ours = {}
for position = FIRST, #ARGV, 7 do
  local revision = {}
  for offset = 0, 6 do
    revision[offset + 1] = ARGV[position + offset]
  end
  ours[#ours + 1] = revision
end
local function number(revision)
  return tonumber(string.match(revision[1], '^%d+'))
end
if #ours > 0 and number(ours[1]) <= last then
  -- Entries can only be appended: what is there is read, joined with ours and written again.
  local by_id, missing = {}, 0
  for _, entry in ipairs(redis.call('XRANGE', HISTORY, '-', '+')) do
    local fields = entry[2]
    by_id[entry[1]] = { entry[1], fields[2], fields[4], fields[6], fields[8], fields[10], fields[12] }
  end
  for _, revision in ipairs(ours) do
    local theirs = by_id[revision[1]]
    if not theirs or tonumber(revision[2]) < tonumber(theirs[2]) then
      by_id[revision[1]] = revision
      missing = missing + 1
    end
  end
  if missing == 0 then
    return 0
  end
  ours = {}
  for _, revision in pairs(by_id) do
    ours[#ours + 1] = revision
  end
  table.sort(ours, function(a, b) return number(a) < number(b) end)
  redis.call('DEL', HISTORY, SIZES)
  for _, revision in ipairs(ours) do
    append_revision(revision)
  end
  return missing
end
for _, revision in ipairs(ours) do
  append_revision(revision)
end
return #ours
