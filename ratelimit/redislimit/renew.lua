-- Keeps a slot for another lease. ARGV: lease in us, the holder's name.
-- A name that is still there has lost nothing, even when it has run out: whoever takes
-- a slot removes those first.
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then
  return 0
end
local t = redis.call('TIME')
local ends = t[1] * 1000000 + t[2] + ARGV[1]
redis.call('ZADD', KEYS[1], string.format('%.0f', ends), ARGV[2])
local keep = math.ceil(ARGV[1] / 500)
if redis.call('PTTL', KEYS[1]) < keep then
  redis.call('PEXPIRE', KEYS[1], keep)
end
return 1
