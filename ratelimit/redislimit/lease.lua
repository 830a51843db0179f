-- Gives back units that were leased and not used, and leases others. ARGV: algorithm,
-- limit, window in us, cost, units wanted beside it, us that they may be kept, units to
-- give back, their stamp, ms for which this question may come again.
-- KEYS[2], where units are given back, names the question: a client that sends it twice
-- must not give back twice.
-- Returns six integers: units booked, used, and as take.lua.
local key = KEYS[1]
local s = { exact = ARGV[1] == '0', limit = tonumber(ARGV[2]), window = tonumber(ARGV[3]) }
local cost, more, ahead = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local back = tonumber(ARGV[7])

if back > 0 and redis.call('SET', KEYS[2], 1, 'NX', 'PX', ARGV[9]) then
  if s.exact then
    redis.call('LREM', key, -back, ARGV[8])
  else
    local left = (redis.call('HGET', key, ARGV[8]) or 0) - back
    if left > 0 then
      redis.call('HSET', key, ARGV[8], string.format('%.0f', left))
    else
      redis.call('HDEL', key, ARGV[8])
    end
  end
end
look(key, s)
local booked = 0
if cost > 0 and s.used + cost > s.limit then
  s.retry = wait(key, s, cost)
elseif cost > 0 then
  -- Half of what is left at most, so that the last units go to who uses them.
  booked = cost + math.min(more, math.floor((s.limit - s.used - cost) / 2))
  if booked == cost then ahead = 0 end -- nothing is kept
  book(key, s, booked, ahead)
end
return { booked, s.used, s.retry, s.nextfree, s.reset, s.stamp }
