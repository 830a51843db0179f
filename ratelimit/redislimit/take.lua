-- Decides for several keys at once, all or nothing.
-- ARGV, six a key: algorithm (0 exact, 1 buckets), limit, window in us, cost,
-- flags (1 only watches, 2 counts what is denied), us to stamp ahead.
-- Returns six integers a key: allowed, used, and in us: until the cost fits, until
-- the next unit is free, until all are; and the stamp to cancel by.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local states, granted = {}, true
local cells = 64

for i, key in ipairs(KEYS) do
  local a = (i - 1) * 6
  local s = {
    exact = ARGV[a + 1] == '0', limit = tonumber(ARGV[a + 2]), window = tonumber(ARGV[a + 3]),
    cost = tonumber(ARGV[a + 4]), watches = ARGV[a + 5] % 2 == 1, counts = ARGV[a + 5] >= '2',
    ahead = tonumber(ARGV[a + 6]), used = 0, stamp = 0, retry = 0, nextfree = 0, reset = 0,
  }
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
    s.last = math.floor(now / s.width)
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
  s.fits = s.used + s.cost <= s.limit
  if not s.fits and not s.watches then granted = false end
  states[i] = s
end

local function book(key, s, cost)
  if s.exact then
    -- Stamps are unique and in order, even when the clock has stepped back, so that
    -- a reservation can be found again by its stamp.
    s.stamp = math.max(now + s.ahead, s.last + 1)
    local text, stamps = string.format('%.0f', s.stamp), {}
    for j = 1, cost do stamps[j] = text end
    redis.call('RPUSH', key, unpack(stamps))
    s.reset = s.stamp + s.window - now
  else
    s.stamp = s.last
    redis.call('HINCRBY', key, string.format('%.0f', s.stamp), cost)
    s.reset = (s.stamp + cells) * s.width - now
  end
  redis.call('PEXPIRE', key, string.format('%.0f', math.ceil(s.reset / 1000) + 1))
  if s.used == 0 then s.nextfree = s.reset end
  s.used = s.used + cost
end

local reply = {}
for i, key in ipairs(KEYS) do
  local s = states[i]
  if granted and s.fits then
    book(key, s, s.cost)
  elseif not s.fits then
    if s.counts and s.exact then
      local over = s.used + s.cost - s.limit
      redis.call('LTRIM', key, over, -1)
      s.used = s.used - over
      book(key, s, s.cost)
      s.nextfree = redis.call('LINDEX', key, 0) + s.window - now
      s.retry = redis.call('LINDEX', key, s.cost - 1) + s.window - now
    elseif s.exact then
      s.retry = redis.call('LINDEX', key, s.used + s.cost - s.limit - 1) + s.window - now
    else
      local need, j = s.used + s.cost - s.limit, 0
      while need > 0 do
        j = j + 1
        need = need - s.buckets[j][2]
        s.retry = (s.buckets[j][1] + cells) * s.width - now
      end
    end
  end
  for _, v in ipairs({ s.fits and 1 or 0, s.used, s.retry, s.nextfree, s.reset, s.stamp }) do
    reply[#reply + 1] = v
  end
end
return reply
