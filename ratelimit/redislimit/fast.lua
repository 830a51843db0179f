-- The question that is asked most: one key, one unit, an exact log. Its ARGV are limit and window
-- in us, and its reply is: units used, us until the next unit is free, us until all are, and the
-- instant to find the unit by, which is 0 for a denial. It decides without the functions that
-- weighted logs and several keys need, which would be a quarter of its time. take.lua decides
-- the rest, and gives its own reply.
local call = redis.call
local t = call('TIME')
local now = t[1] * 1000000 + t[2]
local ARGV = ARGV
if #ARGV == 2 then
  local key, limit, window = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
  local head = call('LINDEX', key, 0)
  if not head then
    if limit > 0 then
      call('RPUSH', key, now)
      -- Every writer lets a key live a step longer than its window, so that only the first of
      -- each step has to say so.
      call('PEXPIRE', key, math.ceil(window * 65 / 64000) + 1)
      return { 1, window, window, now }
    end
  else
    local last = tonumber(call('LINDEX', key, -1)) -- not a number where a pair has several units
    if last and last < now then
      head = tonumber(head)
      while head and head + window <= now do
        call('LPOP', key)
        head = tonumber(call('LINDEX', key, 0) or nil)
      end
      local used = call('RPUSH', key, now)
      if used > limit then
        call('RPOP', key)
        if used == limit + 1 then
          local nextfree = head + window - now
          return { limit, nextfree, last + window - now, 0 }
        end
      else
        local step = window / 64
        if now - now % step > last then
          call('PEXPIRE', key, math.ceil((window + step) / 1000) + 1)
        end
        return { used, (head or now) + window - now, window, now }
      end
    end
  end
  ARGV = { '0', ARGV[1], ARGV[2], '1', '0', '0', '0', '' }
end
