-- The decision that is asked for most: one unit of a key with an exact log. Returns units used, us
-- until the next unit is free, us until all are, and the instant to find the unit by, which is 0
-- for a denial. Returns nil for a log that needs take.lua: with several units at one
-- instant, or units in the future. It decides without the functions for such logs, which would
-- be a quarter of its time.
-- Arguments of calls are text where that is possible: Redis formats each number as a float.
local call = redis.call
local t = call('TIME')
local now = t[1] * 1000000 + t[2]
local function usual(key, head, limit, window, now)
  if not head then
    call('RPUSH', key, string.format('%d', now))
    -- Every writer lets a key live a step longer than its window, so that only the first of
    -- each step has to say so.
    call('PEXPIRE', key, math.ceil(window * 65 / 64000) + 1)
    return 1, window, window, now
  end
  local last = tonumber(call('LINDEX', key, '-1')) -- not a number where a pair has several units
  if not last or last >= now then return end
  head = tonumber(head)
  while head and head + window <= now do
    call('LPOP', key)
    head = tonumber(call('LINDEX', key, '0') or nil)
  end
  local used = call('RPUSH', key, string.format('%d', now))
  if used > limit then
    call('RPOP', key)
    if used > limit + 1 then return end
    return limit, (head or now) + window - now, last + window - now, 0
  end
  local step = window / 64
  if now - now % step > last then call('PEXPIRE', key, math.ceil((window + step) / 1000) + 1) end
  return used, (head or now) + window - now, window, now
end
