-- Gives back what take.lua booked. ARGV: algorithm, stamp, cost.
-- A second call finds no such stamp in an exact log and changes nothing.
if ARGV[1] == '0' then
  return redis.call('LREM', KEYS[1], -ARGV[3], ARGV[2])
end
local n = tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or 0)
local back = math.min(n, tonumber(ARGV[3]))
if back == n then
  redis.call('HDEL', KEYS[1], ARGV[2])
else
  redis.call('HINCRBY', KEYS[1], ARGV[2], -back)
end
return back
