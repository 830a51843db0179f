-- The question that is asked most: one key, and one that is all units of the log. It decides
-- without the functions that weighted logs and several keys need, which would be a quarter
-- of its time. What it cannot decide goes on in take.lua. ARGV: as take.lua.
local call = redis.call
local t = call('TIME')
local now = t[1] * 1000000 + t[2]
if #KEYS == 1 and ARGV[5] == '0' and ARGV[6] == '0' and ARGV[1] == '0' and ARGV[4] == '1' then
  local key, limit, window = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3])
  local used = call('LLEN', key)
  local last, nextfree, reset, plain = -1, 0, 0, true
  if used > 0 then
    last = tonumber(call('LINDEX', key, -1)) -- not a number where a pair has several units
    plain = last and last <= now
    if plain then reset = last + window - now end
  end
  while plain and used > 0 do
    local head = used > 1 and tonumber(call('LINDEX', key, 0)) or last
    nextfree = head + window - now
    if nextfree > 0 then break end
    call('LPOP', key)
    used, nextfree = used - 1, 0
  end
  if plain and used < limit and last < now then
    if used == 0 then reset, last = 0, -1 end
    call('RPUSH', key, now)
    -- Every writer lets a key live a step longer than its window, so that only the first of
    -- each step has to say so.
    local step = window / 64
    if now - now % step > last then
      call('PEXPIRE', key, math.ceil((window + step) / 1000) + 1)
    end
    if used == 0 then nextfree = window end
    return { 1, used + 1, 0, nextfree, window, now, 0, 0 }
  elseif plain and used == limit then
    return { 0, used, nextfree, nextfree, reset, 0, 0, 0 }
  end
end
