-- Gives back what take.lua booked. ARGV: algorithm, stamp, cost, ms for which this
-- request may come again.
-- A second call finds no such stamp in an exact log and changes nothing. Units in
-- buckets look alike: KEYS[2] names the request there, so that a client that sends it
-- twice does not give back twice.
if ARGV[1] == '0' then
  return redis.call('LREM', KEYS[1], -ARGV[3], ARGV[2])
end
if not redis.call('SET', KEYS[2], 1, 'NX', 'PX', ARGV[4]) then return 0 end
local n = tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or 0)
local back = math.min(n, tonumber(ARGV[3]))
if back == n then
  redis.call('HDEL', KEYS[1], ARGV[2])
else
  redis.call('HINCRBY', KEYS[1], ARGV[2], -back)
end
return back
