-- take.lua for the question that is asked most: one key, an exact log, and nothing counted
-- that is denied. It decides and answers alike, without the tables that several keys need,
-- which would be a quarter of its time.
-- ARGV: limit, window in us, cost.
local key, limit, window, cost = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local call = redis.call
local t = call('TIME')
local now = t[1] * 1000000 + t[2]

local used, last, nextfree, reset = call('LLEN', key), -1, 0, 0
while used > 0 do
  local head = tonumber(call('LINDEX', key, 0))
  nextfree = head + window - now
  if nextfree > 0 then
    last = used > 1 and tonumber(call('LINDEX', key, -1)) or head
    reset = last + window - now
    break
  end
  call('LPOP', key)
  used, nextfree = used - 1, 0
end

local over = used + cost - limit
if over == 1 then
  return { 0, used, nextfree, nextfree, reset, 0 }
elseif over > 1 then
  return { 0, used, call('LINDEX', key, over - 1) + window - now, nextfree, reset, 0 }
end

local stamp = math.max(now, last + 1)
if cost == 1 then
  call('RPUSH', key, stamp)
else
  local stamps = {}
  for j = 1, cost do stamps[j] = stamp end
  call('RPUSH', key, unpack(stamps))
end
reset = stamp + window - now
-- Every writer lets a key live a step longer than its window, so that only the first of
-- each step has to say so.
local step = window / 64
if stamp - stamp % step > last then
  call('PEXPIRE', key, math.ceil((reset + step) / 1000) + 1)
end
if used == 0 then nextfree = reset end
return { 1, used + cost, 0, nextfree, reset, stamp }
