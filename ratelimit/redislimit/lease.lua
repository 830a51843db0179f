-- Gives back units that were leased and not used, and leases others. ARGV: grain, limit,
-- window in us, cost, units wanted beside it, us that they may be kept, units to give back,
-- their instant, ms for which this question may come again, when they were booked.
-- KEYS[2], where units are given back, names the question: a client that sends it twice
-- must not give back twice.
-- Returns units booked, then as take.lua, and at last the time.
local key = KEYS[1]
local s = { grain = tonumber(ARGV[1]), limit = tonumber(ARGV[2]), window = tonumber(ARGV[3]) }
local cost, more, ahead = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local back = tonumber(ARGV[7])

look(key, s)
if back > 0 and call('SET', KEYS[2], 1, 'NX', 'PX', ARGV[9]) then
  local reset = call('GET', key .. ':g') -- it has given everything back already
  if not reset or tonumber(reset) < tonumber(ARGV[10]) then
    take(key, s, tonumber(ARGV[8]), back)
    look(key, s)
  end
end
local booked = 0
if cost > 0 and s.used + cost > s.limit then
  s.retry = reach(key, s, s.used + cost - s.limit) + s.window - now
elseif cost > 0 then
  -- Half of what is left at most, so that the last units go to whoever uses them.
  booked = cost + math.min(more, math.floor((s.limit - s.used - cost) / 2))
  if booked == cost then ahead = 0 end -- nothing is kept
  local first = s.used == 0
  s.stamp = stamp(s, now + ahead)
  if s.last > s.stamp and s.last - s.stamp <= math.min(1000000, s.window / 50) then s.stamp = s.last end
  add(key, s, s.stamp, booked)
  if first then s.nextfree = s.stamp + s.window - now end
end
return { booked, s.used, s.retry, s.nextfree, s.reset, s.stamp, 0, 0, now }
