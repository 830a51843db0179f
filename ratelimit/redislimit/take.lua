-- Decides for several keys at once, all or nothing.
-- ARGV, eight a key: grain in us (0 for the clock's own), limit, window in us, cost, flags
-- (1 only watches, 2 counts what is denied, 4 debt, 8 in flight, 16 looks only), us that the
-- units may wait, units that may wait, the name of the question.
-- Returns eight integers a key: allowed, used, and in us: until the cost fits, until
-- the next unit is free, until all are; the instant to find the units by, how many in flight
-- are all that is in the way, and us to wait (-1: too many wait already).
local states, granted = {}, true

for i, key in ipairs(KEYS) do
  local a = (i - 1) * 8
  local flags = tonumber(ARGV[a + 5])
  local s = {
    grain = tonumber(ARGV[a + 1]), limit = tonumber(ARGV[a + 2]), window = tonumber(ARGV[a + 3]),
    cost = tonumber(ARGV[a + 4]), within = tonumber(ARGV[a + 6]), name = ARGV[a + 8],
    watches = flags % 2 >= 1, counts = flags % 4 >= 2, debt = flags % 8 >= 4, holds = flags % 16 >= 8, looks = flags >= 16,
  }
  look(key, s)
  local over = s.used + s.cost - s.limit
  s.fits = over <= 0
  if s.debt then
    s.fits = s.limit > 0
  elseif not s.fits and s.cost <= s.limit then
    s.retry = reach(key, s, over) + s.window - now
    if s.within > 0 then
      s.retry = math.max(s.retry, s.last - now)
      if over > tonumber(ARGV[a + 7]) then
        s.delay = -1
      elseif s.retry <= s.within then
        s.fits, s.delay, s.retry = true, s.retry, 0
      end
    elseif s.holds or s.looks then
      local flying = 0
      for _, member in ipairs(call('ZRANGEBYSCORE', key .. ':f', now, '+inf')) do
        flying = flying + string.match(member, '^%d+')
      end
      if flying > 0 and over <= flying then
        s.flying, s.retry = flying, math.min(s.retry, 1000000)
        s.nextfree = math.min(s.nextfree, s.retry)
      end
    end
  end
  if not s.fits and not s.watches and not s.looks then granted = false end
  states[i] = s
end

local reply = {}
for i, key in ipairs(KEYS) do
  local s = states[i]
  if s.looks then
  elseif granted and s.fits then
    local first = s.used == 0
    if s.debt then
      owe(key, s, s.cost)
    else
      s.stamp = stamp(s, now + s.delay)
      if s.delay == 0 and s.last > s.stamp and s.last - s.stamp <= math.min(1000000, s.window / 50) then
        s.stamp = s.last -- behind units that another process holds for a moment
      end
      add(key, s, s.stamp, s.cost)
    end
    if first then s.nextfree = s.stamp + s.window - now end
    if s.holds then
      call('ZREMRANGEBYSCORE', key .. ':f', 0, now)
      call('ZADD', key .. ':f', now + 60000000, string.format('%.0f:%s', s.cost, s.name))
      call('PEXPIRE', key .. ':f', 61000)
    end
  elseif not s.fits and s.counts then
    punish(key, s)
    local delay = s.delay
    look(key, s)
    s.delay = delay
    if s.cost <= s.limit then s.retry = reach(key, s, s.used + s.cost - s.limit) + s.window - now end
  end
  for _, v in ipairs({ s.fits and 1 or 0, s.used, s.retry, s.nextfree, s.reset, s.stamp, s.flying, s.delay }) do
    reply[#reply + 1] = v
  end
end
return reply
