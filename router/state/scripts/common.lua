-- Read before every other script (router/state/lua.py joins them). Keys and formats: router/state/keys.py.
local VERSION, CHANGES, CONFIG = KEYS[1], KEYS[2], KEYS[3]
local HASH = { backend = KEYS[4], price = KEYS[5], tenant = KEYS[6], health = KEYS[7], policies = KEYS[8] }

-- The server's clock, so that replicas with wrong clocks agree.
local TIME = redis.call('TIME')
local NOW = string.format('%d.%06d', TIME[1], TIME[2])

-- A document's version (0: never existed, or its envelope is not ours) and whether it is there (not a tombstone).
local function stored(kind, id)
  local envelope = redis.call('HGET', HASH[kind], id)
  local version = envelope and tonumber(string.match(envelope, '^{"version":(%d+),'))
  if not version then
    return 0, false
  end
  return version, string.sub(envelope, -11) ~= '"doc":null}'
end

local function has_parent(kind, id)
  if kind ~= 'price' and kind ~= 'health' then
    return true
  end
  local _, present = stored('backend', string.match(id, '^[^/]*'))
  return present
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

-- Writes all of `changes` ({kind, id, version, at, doc or nil}) as one change; returns the new fleet version.
local function commit(changes, actor, max_changes, after_version)
  local fleet = math.max(fleet_version(), after_version or 0)
  local by_operator = false
  for index, change in ipairs(changes) do
    fleet = fleet + 1
    by_operator = by_operator or change.kind ~= 'health'
    local envelope = string.format('{"version":%d,"at":%s,"doc":', change.version, change.at)
    redis.call('HSET', HASH[change.kind], change.id, envelope .. (change.doc or 'null') .. '}')
    local fields = {
      'kind', change.kind, 'id', change.id, 'op', change.doc and 'set' or 'removed',
      'version', string.format('%d', change.version), 'at', change.at, 'actor', actor,
    }
    if change.doc then
      fields[#fields + 1] = 'doc'
      fields[#fields + 1] = change.doc
    end
    if index < #changes then
      fields[#fields + 1] = 'more'
      fields[#fields + 1] = '1'
    end
    redis.call('XADD', CHANGES, 'MAXLEN', '~', max_changes, string.format('%d-0', fleet), unpack(fields))
  end
  redis.call('SET', VERSION, string.format('%d', fleet))
  if by_operator then
    redis.call('SET', CONFIG, string.format('%d', fleet))
  end
  return fleet
end
