-- Keeps slots for another lease. ARGV: lease in us, weight, the holder's name.
-- A name that is still there has lost nothing, even when it has run out: whoever takes
-- a slot removes those first.
local t = redis.call('TIME')
local ends = t[1] * 1000000 + t[2] + ARGV[1]
for i = 1, tonumber(ARGV[2]) do
  if not redis.call('ZSCORE', KEYS[1], ARGV[3] .. ':' .. i) then
    return 0
  end
end
for i = 1, tonumber(ARGV[2]) do
  redis.call('ZADD', KEYS[1], string.format('%.0f', ends), ARGV[3] .. ':' .. i)
end
local keep = math.ceil(ARGV[1] / 500)
if redis.call('PTTL', KEYS[1]) < keep then
  redis.call('PEXPIRE', KEYS[1], keep)
end
return 1
