-- KEYS: the hash of feeds. ARGV: feed, status, seconds to live.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
