-- Decides for several keys at once, all or nothing.
-- ARGV, five a key: algorithm (0 exact, 1 buckets), limit, window in us, cost,
-- flags (1 only watches, 2 counts what is denied).
-- Returns six integers a key: allowed, used, and in us: until the cost fits, until
-- the next unit is free, until all are; and the stamp to cancel by.
local states, granted = {}, true

for i, key in ipairs(KEYS) do
  local a = (i - 1) * 5
  local s = {
    exact = ARGV[a + 1] == '0', limit = tonumber(ARGV[a + 2]), window = tonumber(ARGV[a + 3]),
    cost = tonumber(ARGV[a + 4]), watches = ARGV[a + 5] % 2 == 1, counts = ARGV[a + 5] >= '2',
  }
  look(key, s)
  s.fits = s.used + s.cost <= s.limit
  if not s.fits and not s.watches then granted = false end
  states[i] = s
end

local reply = {}
for i, key in ipairs(KEYS) do
  local s = states[i]
  if granted and s.fits then
    book(key, s, s.cost, 0)
  elseif not s.fits then
    if s.counts and s.exact then
      local over = s.used + s.cost - s.limit
      redis.call('LTRIM', key, over, -1)
      s.used = s.used - over
      book(key, s, s.cost, 0)
      s.nextfree = redis.call('LINDEX', key, 0) + s.window - now
      s.retry = redis.call('LINDEX', key, s.cost - 1) + s.window - now
    else
      s.retry = wait(key, s, s.cost)
    end
  end
  for _, v in ipairs({ s.fits and 1 or 0, s.used, s.retry, s.nextfree, s.reset, s.stamp }) do
    reply[#reply + 1] = v
  end
end
return reply
