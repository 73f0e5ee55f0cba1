-- ARGV: kind, id, expected version, doc, then of a fence: shard, token, owner ("": no fence).
-- Returns {"OK", version, fleet version, at} or {why not, version}.
-- Expected 0: the document must not be there.
local kind, id, expected, doc = ARGV[FIRST], ARGV[FIRST + 1], tonumber(ARGV[FIRST + 2]), ARGV[FIRST + 3]
local refused = refusal(kind)
if refused then
  return refused
end
local why, version, before = objection(kind, id, expected, ARGV[FIRST + 4], tonumber(ARGV[FIRST + 5]), ARGV[FIRST + 6])
if why then
  return { why, version }
end
local change = { kind = kind, id = id, version = version + 1, at = NOW, doc = doc, before = before }
return { 'OK', change.version, revise({ change }), NOW }
