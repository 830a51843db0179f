-- What take.lua and lease.lua have in common: looking at one key's window and booking.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local cells = 64

-- Removes what has left the window and says of s how much of it is used, and when the
-- next unit and all of them are free. s: exact (else buckets), limit and window in us.
local function look(key, s)
  s.used, s.stamp, s.retry, s.nextfree, s.reset = 0, 0, 0, 0, 0
  if s.exact then
    local head = redis.call('LINDEX', key, 0)
    while head and tonumber(head) + s.window <= now do
      redis.call('LPOP', key)
      head = redis.call('LINDEX', key, 0)
    end
    s.last = -1
    if head then
      s.used = redis.call('LLEN', key)
      s.last = tonumber(redis.call('LINDEX', key, -1))
      s.nextfree = tonumber(head) + s.window - now
      s.reset = s.last + s.window - now
    end
  else
    s.width = math.ceil(s.window / (cells - 1))
    s.last = -1
    s.buckets = {}
    local all = redis.call('HGETALL', key)
    for j = 1, #all, 2 do
      local b, n = tonumber(all[j]), tonumber(all[j + 1])
      if (b + cells) * s.width <= now then
        redis.call('HDEL', key, all[j])
      else
        s.buckets[#s.buckets + 1] = { b, n }
        s.used = s.used + n
        if b > s.last then s.last = b end
      end
    end
    if #s.buckets > 0 then
      table.sort(s.buckets, function(x, y) return x[1] < y[1] end)
      s.nextfree = (s.buckets[1][1] + cells) * s.width - now
      s.reset = (s.buckets[#s.buckets][1] + cells) * s.width - now
    end
  end
end

-- Books cost units as used ahead us from now.
local function book(key, s, cost, ahead)
  if s.exact then
    -- Stamps are unique and in order, even when the clock has stepped back, so that
    -- a reservation can be found again by its stamp.
    s.stamp = math.max(now + ahead, s.last + 1)
    local text, stamps = string.format('%.0f', s.stamp), {}
    for j = 1, cost do stamps[j] = text end
    redis.call('RPUSH', key, unpack(stamps))
    s.reset = s.stamp + s.window - now
  else
    s.stamp = math.max(math.floor((now + ahead) / s.width), s.last)
    redis.call('HINCRBY', key, string.format('%.0f', s.stamp), cost)
    s.reset = (s.stamp + cells) * s.width - now
  end
  -- A step longer than the window: see exact.lua.
  redis.call('PEXPIRE', key, math.ceil((s.reset + s.window / 64) / 1000) + 1)
  if s.used == 0 then s.nextfree = s.reset end
  s.used = s.used + cost
end

-- How long until cost fits, which it does not now.
local function wait(key, s, cost)
  local need = s.used + cost - s.limit
  if s.exact then
    return redis.call('LINDEX', key, need - 1) + s.window - now
  end
  local retry, j = 0, 0
  while need > 0 do
    j = j + 1
    need = need - s.buckets[j][2]
    retry = (s.buckets[j][1] + cells) * s.width - now
  end
  return retry
end

