"""Lua scripts, which Redis runs atomically. Each touches keys of one slot only.

An entry has three keys: the value, the fence (token of the lease) and the writers (sorted set of
the tokens of pending writes, by expiry). A generation has no fence, but the key is passed for it
all the same.
"""

NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS value fence writers; ARGV stamp token lease_ms replace
# A token begins with its process id. A process loads a key once at a time, so a lease of its own
# that it finds is of a load whose end never reached Redis.
ACQUIRE_LEASE = (
    NOW
    + """
if ARGV[4] == '0' and #ARGV[1] > 0 then
  local value = redis.call('GET', KEYS[1])
  if value and string.sub(value, 1, #ARGV[1]) == ARGV[1] then return {'found', value} end
end
if redis.call('ZCOUNT', KEYS[3], now, '+inf') > 0 then return {'write_pending'} end
local held = redis.call('GET', KEYS[2])
if held and string.sub(held, 1, 8) ~= string.sub(ARGV[2], 1, 8) then return {'held'} end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return {'granted'}
"""
)

# KEYS fence; ARGV token lease_ms
RENEW_LEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

# KEYS fence; ARGV token
RELEASE_LEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

# KEYS value fence; ARGV token value ttl_ms
FILL = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1
"""

# KEYS value fence writers; ARGV token intent_ms whole channel name
# Deletes come first: a full Redis still executes them.
INTEND = (
    NOW
    + """
redis.call('UNLINK', KEYS[1], KEYS[2])
redis.call('PUBLISH', ARGV[4], ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('ZADD', KEYS[3], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
if ARGV[3] == '1' then redis.call('SET', KEYS[1], 'W', 'PX', ARGV[2]) end
return 1
"""
)

# KEYS value fence writers; ARGV token whole channel name
INVALIDATE = (
    NOW
    + """
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
local open = ARGV[2] == '1' and redis.call('EXISTS', KEYS[3]) == 1
if not open then redis.call('UNLINK', KEYS[1]) end
redis.call('UNLINK', KEYS[2])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
"""
)
