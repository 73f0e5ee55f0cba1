-- Writes what was judged of the health of many backends; each is written, or refused, for itself.
-- ARGV: id, expected version, doc, and of a fence shard, token, owner ("": no fence) of each.
-- Returns {"OK", fleet version, then for each "OK" or why not}.
local refused = refusal('health')
if refused then
  return refused
end
local changes, answer = {}, { 'OK', 0 }
for position = FIRST, #ARGV, 6 do
  local id, expected, doc = ARGV[position], tonumber(ARGV[position + 1]), ARGV[position + 2]
  local shard, token, owner = ARGV[position + 3], tonumber(ARGV[position + 4]), ARGV[position + 5]
  local why, version, before = objection('health', id, expected, shard, token, owner)
  if not why then
    changes[#changes + 1] = { kind = 'health', id = id, version = version + 1, at = NOW, doc = doc, before = before }
  end
  answer[#answer + 1] = why or 'OK'
end
answer[2] = #changes > 0 and revise(changes) or fleet_version()
return answer
