-- ARGV: expected config version ("": any), then kind, id, doc ("": remove it) of each document.
-- Everything in one change, or nothing. What is already so is left alone; a removed backend takes its prices and health.
-- Returns {"OK", config version, documents changed}, {"STALE", config version} or {"NO_BACKEND", kind, id}.
local refused = refusal('config')
if refused then
  return refused
end
local config = tonumber(redis.call('GET', CONFIG) or '0')
if ARGV[FIRST] ~= '' and tonumber(ARGV[FIRST]) ~= config then
  return { 'STALE', config }
end
local named, removed, there = {}, {}, {}
for position = FIRST + 1, #ARGV, 3 do
  local kind, id, doc = ARGV[position], ARGV[position + 1], ARGV[position + 2]
  named[kind .. ' ' .. id] = true
  if kind == 'backend' then
    there[id] = doc ~= ''
    removed[id] = doc == '' and true or nil
  end
end
local changes = {}
bury_dependants(changes, removed, named)
for position = FIRST + 1, #ARGV, 3 do
  local kind, id, doc = ARGV[position], ARGV[position + 1], ARGV[position + 2]
  if doc == '' then
    bury(changes, kind, id)
  else
    local parent = parent_of(kind, id)
    if parent and there[parent] == nil then
      there[parent] = has_parent(kind, id)
    end
    if parent and not there[parent] then
      return { 'NO_BACKEND', kind, id }
    end
    local version, before = stored(kind, id)
    if before ~= doc then
      changes[#changes + 1] = { kind = kind, id = id, version = version + 1, at = NOW, doc = doc, before = before }
    end
  end
end
if #changes == 0 then
  return { 'OK', config, 0 }
end
local described = #changes
return { 'OK', revise(changes), described }
