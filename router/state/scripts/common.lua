-- Read before every script that writes documents (router/state/lua.py joins them). Keys and formats: router/state/keys.py.
local VERSION, CHANGES, CONFIG, HISTORY, SIZES, REBUILDING, LEASES =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local HASH = { backend = KEYS[8], price = KEYS[9], tenant = KEYS[10], health = KEYS[11], policies = KEYS[12] }

-- The same of every script; its own arguments begin at FIRST. SEEN: the newest fleet version that the caller knows of.
local ACTOR, ORIGIN, ACTION, NOTE, SEEN = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local MAX_CHANGES, MAX_REVISIONS, MAX_HISTORY_BYTES = ARGV[6], ARGV[7], tonumber(ARGV[8])
local FIRST = 9
local MAX_ANNOUNCED = 1000

-- The server's clock, so that replicas with wrong clocks agree.
local TIME = redis.call('TIME')
local NOW = string.format('%d.%06d', TIME[1], TIME[2])

-- A document's version (0: never existed, or its envelope is not ours), its text (nil: a tombstone), and since when.
local function stored(kind, id)
  local envelope = redis.call('HGET', HASH[kind], id)
  if not envelope then
    return 0
  end
  local version, at, position = string.match(envelope, '^{"version":(%d+),"at":([^,]+),"doc":()')
  if not version then
    return 0
  end
  local doc = string.sub(envelope, position, -2)
  return tonumber(version), doc ~= 'null' and doc or nil, tonumber(at)
end

local function parent_of(kind, id)
  return (kind == 'price' or kind == 'health') and string.match(id, '^[^/]*') or nil
end

local function has_parent(kind, id)
  local parent = parent_of(kind, id)
  if not parent then
    return true
  end
  local _, doc = stored('backend', parent)
  return doc ~= nil
end

-- Without its own key the version is that of the last change: ids in the stream must grow.
local function fleet_version()
  local version = redis.call('GET', VERSION)
  if version then
    return tonumber(version)
  end
  local last = redis.call('XREVRANGE', CHANGES, '+', '-', 'COUNT', 1)[1]
  return last and tonumber(string.match(last[1], '^%d+')) or 0
end

-- A server that has less than its callers saw, or is being put right, takes no change: it would be one to documents
-- that are not the newest. Answers what to return, nil when all is well.
local function refusal(kind)
  local fleet = fleet_version()
  if fleet < SEEN then
    return { 'BEHIND', fleet }
  elseif kind ~= 'health' and redis.call('EXISTS', REBUILDING) == 1 then
    return { 'REBUILDING', redis.call('PTTL', REBUILDING) }
  end
  return nil
end

-- Why a document may not be written on a version (nil: it may), its version and its text. A removed one may be put back
-- with the version of its tombstone. `shard`, `token` and `owner` are a fence; '' as the shard: there is none.
local function objection(kind, id, expected, shard, token, owner)
  local version, before = stored(kind, id)
  local why
  if expected == 0 and before then
    why = 'EXISTS'
  elseif expected ~= 0 and not before and expected ~= version then
    why = 'MISSING'
  elseif expected ~= 0 and expected ~= version then
    why = 'STALE'
  elseif not has_parent(kind, id) then
    why = 'NO_BACKEND'
  elseif shard ~= '' then
    local lease = redis.call('HGET', LEASES, shard)
    local its_token, its_owner = string.match(lease or '', '^(%d+):(.*):%d+$')
    if its_token and (tonumber(its_token) > token or its_owner ~= owner) then
      why = 'FENCED'
    end
  end
  return why, version, before
end

local function announce(change, fleet, more)
  local fields = {
    'kind', change.kind, 'id', change.id, 'op', change.doc and 'set' or 'removed',
    'version', string.format('%d', change.version), 'at', change.at, 'actor', ACTOR,
  }
  if change.doc then
    fields[#fields + 1] = 'doc'
    fields[#fields + 1] = change.doc
  end
  if more then
    fields[#fields + 1] = 'more'
    fields[#fields + 1] = '1'
  end
  redis.call('XADD', CHANGES, 'MAXLEN', '~', MAX_CHANGES, string.format('%d-0', fleet), unpack(fields))
end

-- Writes all of `changes` ({kind, id, version, at, doc or nil}) as one change after a version; returns the fleet version.
local function commit(changes, after_version)
  local fleet = math.max(fleet_version(), after_version or 0)
  local by_operator = false
  -- Of a very large change only the last entry is in the stream: readers find a gap and read everything by pages, which
  -- costs the server less than writing it all twice.
  local announced_from = #changes > MAX_ANNOUNCED and #changes or 1
  for index, change in ipairs(changes) do
    fleet = fleet + 1
    by_operator = by_operator or change.kind ~= 'health'
    local envelope = '{"version":' .. string.format('%d', change.version) .. ',"at":' .. change.at .. ',"doc":'
    redis.call('HSET', HASH[change.kind], change.id, envelope .. (change.doc or 'null') .. '}')
    if index >= announced_from then
      announce(change, fleet, index < #changes)
    end
  end
  redis.call('SET', VERSION, string.format('%d', fleet))
  if by_operator then
    redis.call('SET', CONFIG, string.format('%d', fleet))
  end
  return fleet
end

-- Appends one revision {id, at, actor, origin, action, note, changes}, whose id is newer than all, and drops the oldest.
local function append_revision(revision)
  local newest = redis.call('LINDEX', SIZES, -1)
  local start, size = string.match(newest or '', ' (%d+) (%d+)$')
  start = (tonumber(start) or 0) + (tonumber(size) or 0)
  redis.call(
    'XADD', HISTORY, 'MAXLEN', '=', MAX_REVISIONS, revision[1], 'at', revision[2], 'actor', revision[3],
    'origin', revision[4], 'action', revision[5], 'note', revision[6], 'changes', revision[7]
  )
  local count = redis.call('RPUSH', SIZES, string.format('%s %d %d', revision[1], start, #revision[7]))
  local floor = start + #revision[7] - MAX_HISTORY_BYTES
  local dropped = false
  while count > 1 and (count > tonumber(MAX_REVISIONS)
      or tonumber(string.match(redis.call('LINDEX', SIZES, 0), ' (%d+)')) < floor) do
    redis.call('LPOP', SIZES)
    count, dropped = count - 1, true
  end
  if dropped then
    redis.call('XTRIM', HISTORY, 'MINID', string.match(redis.call('LINDEX', SIZES, 0), '^%S+'))
  end
end

local function quoted(text)
  return string.find(text, '[%c"\\]') and cjson.encode(text) or '"' .. text .. '"'
end

-- Writes `changes` (with `before`: the text there was) as one change of the fleet, and what it did to the configuration
-- as one revision; returns the fleet version.
local function revise(changes)
  local fleet = commit(changes)
  -- One flat list of parts: the text may be of many megabytes, and is put together once.
  local parts = {}
  local n = 0
  for _, change in ipairs(changes) do
    if change.kind ~= 'health' then
      parts[n + 1] = n == 0 and '[{"kind":"' or '},{"kind":"'
      parts[n + 2] = change.kind
      parts[n + 3] = '","id":'
      parts[n + 4] = quoted(change.id)
      parts[n + 5] = ',"before":'
      parts[n + 6] = change.before or 'null'
      parts[n + 7] = ',"after":'
      parts[n + 8] = change.doc or 'null'
      n = n + 8
    end
  end
  if n > 0 then
    parts[n + 1] = '}]'
    append_revision({ string.format('%d-0', fleet), NOW, ACTOR, ORIGIN, ACTION, NOTE, table.concat(parts) })
  end
  return fleet
end

-- Adds to `changes` the removal of a document that is there.
local function bury(changes, kind, id)
  local version, doc = stored(kind, id)
  if doc then
    changes[#changes + 1] = { kind = kind, id = id, version = version + 1, at = NOW, before = doc }
  end
end

-- Adds to `changes` the removal of all that belongs to backends (ids as keys), and is not in `spared` (kind and id).
local function bury_dependants(changes, backends, spared)
  if next(backends) == nil then
    return
  end
  for _, price in ipairs(redis.call('HKEYS', HASH.price)) do
    if backends[parent_of('price', price)] and not spared['price ' .. price] then
      bury(changes, 'price', price)
    end
  end
  for id in pairs(backends) do
    bury(changes, 'health', id)
  end
end
