-- Hands out slices of tenants' limits. Keys and formats: router/state/keys.py; what it promises: router/state/slices.py.
-- KEYS: one limit of one tenant each. ARGV: replica, its call's number, and for each key 8 arguments:
--   "rate", rate, capacity, balance, want, back, took, demand    answers the amount granted
--   "budget", budget, spent, want, acknowledged, others, ttl, ""  answers {granted in all, total spent, free}
-- Field "" of a hash is the limit's own; every other field is a replica's.
local REPLICA, CALL = ARGV[1], tonumber(ARGV[2])
local TIME = redis.call('TIME')
local NOW = tonumber(TIME[1]) + tonumber(TIME[2]) / 1000000
-- What a replica holds ends ten seconds after its last ask; the store counts it for longer.
local FORGET_S, HUNGRY_S, DEAD_S = 15, 1, 15
-- Only this much of a bucket is kept for the fair shares of others.
local RESERVE_S, LONGEST_S = 0.1, 0.25
local REBUILT_TTL_S = 60

local function number(text)
  return tonumber(text) or 0
end

-- The rate that nobody exceeds when `rate` is shared max-min: who wants less has it, the others have the same.
local function fair_share(rate, wishes)
  table.sort(wishes)
  local left = rate
  for index, wish in ipairs(wishes) do
    local even = left / (#wishes - index + 1)
    if wish >= even then
      return even
    end
    left = left - wish
  end
  return math.huge
end

local function grant_rate(key, a)
  local rate, capacity, balance = number(ARGV[a + 1]), number(ARGV[a + 2]), number(ARGV[a + 3])
  local want, back, took, demand = number(ARGV[a + 4]), number(ARGV[a + 5]), number(ARGV[a + 6]), number(ARGV[a + 7])
  local level, at, asked_at, held, held_before, wishes = capacity, NOW, nil, math.max(0, balance), 0, { demand }
  local fields = redis.call('HGETALL', key)
  for index = 1, #fields, 2 do
    local name, value = fields[index], fields[index + 1]
    if name == '' then
      local saved, moment = string.match(value, '^(%S+) (%S+)$')
      level, at = number(saved), number(moment)
    else
      local moment, kept, wish, call = string.match(value, '^(%S+) (%S+) (%S+) (%S+)$')
      local age = NOW - number(moment)
      if name == REPLICA then
        asked_at, held_before = number(moment), math.max(0, number(kept))
        if number(call) >= CALL then
          return '0'
        end
      elseif age > FORGET_S then
        redis.call('HDEL', key, name)
      else
        held = held + math.max(0, number(kept))
        if age <= HUNGRY_S then
          wishes[#wishes + 1] = number(wish)
        end
      end
    end
  end
  -- What replicas hold is part of what may be saved up. When it was used is not known, so it fills up only from now.
  local full = math.max(level, capacity - held - held_before + math.max(0, balance))
  level = math.min(level + math.max(0, NOW - at) * rate, full) - took + back
  level = math.max(0, math.min(level, capacity - held))
  local elapsed = math.min(math.max(0, NOW - (asked_at or NOW - RESERVE_S)), LONGEST_S)
  local share, fair = fair_share(rate, wishes), level
  if share < math.huge then
    fair = math.min(share * elapsed, level)
  end
  local spare = level - rate * RESERVE_S
  if demand == 0 then
    -- For a burst to come, from the fuller half of the bucket.
    fair, spare = 0, level - capacity / 2
  end
  local amount = math.max(0, math.min(want, math.max(fair, spare)))
  redis.call('HSET', key,
    '', string.format('%.9f %.6f', level - amount, NOW),
    REPLICA, string.format('%.6f %.9f %.6f %d', NOW, balance + amount, demand, CALL))
  redis.call('EXPIRE', key, math.ceil(capacity / rate) + REBUILT_TTL_S)
  return string.format('%.9f', amount)
end

local function grant_budget(key, a)
  local budget, spent, want = number(ARGV[a + 1]), number(ARGV[a + 2]), number(ARGV[a + 3])
  local acknowledged, others, ttl = number(ARGV[a + 4]), number(ARGV[a + 5]), number(ARGV[a + 6])
  local gone, elsewhere, committed, live, granted, known, last = 0, 0, 0, 1, 0, false, CALL
  local fields = redis.call('HGETALL', key)
  for index = 1, #fields, 2 do
    local name, value = fields[index], fields[index + 1]
    if name == '' then
      gone = gone + number(value)
    else
      local moment, theirs, kept, call = string.match(value, '^(%S+) (%S+) (%S+) (%S+)$')
      if name == REPLICA then
        known, granted, spent, last = true, number(kept), math.max(spent, number(theirs)), number(call)
        if last >= CALL then
          want = granted
        end
      elseif NOW - number(moment) > DEAD_S then
        gone = gone + number(theirs)
        redis.call('HDEL', key, name)
      else
        elsewhere = elsewhere + number(theirs)
        committed = committed + math.max(number(theirs), number(kept))
        live = live + 1
      end
    end
  end
  if not known then
    -- New, taken for dead, or the store was wiped: its own figure is no longer among those that are gone, and the
    -- others had spent at least what it last heard.
    gone = math.max(gone - acknowledged, others - elsewhere, 0)
  end
  local free = budget - gone - committed - math.max(spent, granted)
  if want < granted then
    free = free + granted - math.max(want, spent)
    granted = want
  elseif free > 0 then
    local base = math.max(spent, granted)
    local more = math.max(0, math.min(want - base, free / live))
    granted, free = base + more, free - more
  end
  redis.call('HSET', key,
    '', string.format('%.9f', gone),
    REPLICA, string.format('%.6f %.9f %.9f %d', NOW, spent, granted, math.max(last, CALL)))
  redis.call('EXPIRE', key, ttl)
  return {
    string.format('%.9f', granted), string.format('%.9f', gone + elsewhere + spent),
    string.format('%.9f', math.max(0, free)),
  }
end

local answers = {}
for index, key in ipairs(KEYS) do
  local a = 3 + (index - 1) * 8
  answers[index] = ARGV[a] == 'rate' and grant_rate(key, a) or grant_budget(key, a)
end
return answers
