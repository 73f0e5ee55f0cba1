-- KEYS: hours of usage. Returns how many totals each has, so that empty hours cost nothing more.
local sizes = {}
for at = 1, #KEYS do
  sizes[at] = redis.call('HLEN', KEYS[at])
end
return sizes
