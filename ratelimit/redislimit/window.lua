-- The log of a key is a list, oldest first. An element is an instant in us, for one unit, or
-- "instant:units". The last element also says how many units the list holds beyond its
-- length: "instant:units:beyond", unless that is 0. What a waiter has reserved, and debt, lie
-- in the future.
local function split(element)
  local at = tonumber(element)
  if at then return at, 1, 0 end
  local a, n, beyond = string.match(element, '^(%d+):(%d+):?(%d*)$')
  return tonumber(a), tonumber(n), tonumber(beyond) or 0
end

local function text(at, n, beyond)
  if beyond > 0 then return string.format('%.0f:%.0f:%.0f', at, n, beyond) end
  if n > 1 then return string.format('%.0f:%.0f', at, n) end
  return string.format('%.0f', at)
end

-- The instant up to which so many units lie.
local function reach(key, s, units)
  if s.beyond == 0 then return tonumber((call('LINDEX', key, units - 1))) end
  local from, at, n = 0, 0, 0
  while true do
    for _, element in ipairs(call('LRANGE', key, from, from + 63)) do
      at, n = split(element)
      units = units - n
      if units <= 0 then return at end
    end
    from = from + 64
    if from > s.len then return at end
  end
end

-- Removes what has left the window and says of s what is in use. s: limit, and window and
-- grain in us.
local function look(key, s)
  s.len = call('LLEN', key)
  s.last, s.lastn, s.beyond = -1, 0, 0
  s.retry, s.nextfree, s.reset, s.stamp, s.flying, s.delay = 0, 0, 0, 0, 0, 0
  if s.len > 0 then
    s.last, s.lastn, s.beyond = split(call('LINDEX', key, -1))
    local had, head = s.beyond, 0
    while s.len > 0 do
      local at, n = split(call('LINDEX', key, 0))
      if at + s.window > now then
        head = at
        break
      end
      call('LPOP', key)
      s.len, s.beyond = s.len - 1, s.beyond - n + 1
    end
    if s.len == 0 then
      s.last, s.lastn, s.beyond = -1, 0, 0
    else
      if s.beyond ~= had then call('LSET', key, -1, text(s.last, s.lastn, s.beyond)) end
      s.nextfree, s.reset = head + s.window - now, s.last + s.window - now
      local over = s.len + s.beyond - s.limit
      if over > 0 then s.nextfree = reach(key, s, math.min(over + 1, s.len + s.beyond)) + s.window - now end
    end
  end
  s.used = s.len + s.beyond
end

-- The instant from which a use at an instant counts.
local function stamp(s, at)
  if s.grain > 0 then return math.floor(at / s.grain) * s.grain + s.grain end
  return at
end

-- Books n units from an instant on.
local function add(key, s, at, n)
  s.beyond = s.beyond + n - 1
  if at > s.last then
    call('RPUSH', key, text(at, n, s.beyond))
    s.last, s.lastn, s.len = at, n, s.len + 1
  elseif at == s.last then
    s.lastn, s.beyond = s.lastn + n, s.beyond + 1
    call('LSET', key, -1, text(at, s.lastn, s.beyond))
  else -- before what lies in the future
    local i = s.len - 1
    local element, a, m
    repeat
      element = call('LINDEX', key, i)
      a, m = split(element)
      i = i - 1
    until a <= at or i < 0
    if a == at then
      s.beyond = s.beyond + 1
      call('LSET', key, i + 1, text(a, m + n, 0))
    elseif a < at then
      call('LINSERT', key, 'AFTER', element, text(at, n, 0))
      s.len = s.len + 1
    else
      call('LPUSH', key, text(at, n, 0))
      s.len = s.len + 1
    end
    call('LSET', key, -1, text(s.last, s.lastn, s.beyond))
  end
  s.used = s.len + s.beyond
  s.reset = s.last + s.window - now
  -- A step longer than the window: see fast.lua.
  call('PEXPIRE', key, math.ceil((s.reset + s.window / 64) / 1000) + 1)
end

-- Books units whether they fit or not: as many as fit now, and the rest one after the other in
-- the future, as soon as they fit there.
local function owe(key, s, units)
  if s.limit < 1 then return end
  units = math.min(units, 64 * s.limit)
  s.stamp = stamp(s, now)
  local room = math.min(units, s.limit - s.used)
  if room > 0 then
    add(key, s, s.stamp, room)
    units = units - room
  end
  if units <= 0 then return end
  local ats, ns = {}, {}
  for i, element in ipairs(call('LRANGE', key, 0, -1)) do ats[i], ns[i] = split(element) end
  local at, most, steps = math.max(s.last, s.stamp), s.stamp + 128 * s.window, 0
  while units > 0 and at < most do
    local used, first = 0, #ats
    while first > 0 and ats[first] + s.window > at do
      used = used + ns[first]
      first = first - 1
    end
    room = math.min(s.limit - used, units)
    if room > 0 then
      add(key, s, at, room)
      if ats[#ats] == at then ns[#ns] = ns[#ns] + room else ats[#ats + 1], ns[#ns + 1] = at, room end
      units = units - room
    elseif steps < 64 then
      at = ats[first + 1] + s.window
    else
      at = at + s.window
    end
    steps = steps + 1
  end
end

-- Takes up to n units of an instant away.
local function take(key, s, at, n)
  local to = s.len - 1
  while to >= 0 do
    local from = math.max(to - 31, 0)
    local chunk = call('LRANGE', key, from, to)
    for i = #chunk, 1, -1 do
      local a, m = split(chunk[i])
      if a < at then return end
      if a == at then
        n = math.min(n, m)
        s.beyond = s.beyond - n
        if m > n then
          call('LSET', key, from + i - 1, text(a, m - n, 0))
          if a == s.last then s.lastn = m - n end
        else
          call('LSET', key, from + i - 1, 'x')
          call('LREM', key, -1, 'x')
          s.len, s.beyond = s.len - 1, s.beyond + 1
          if s.len == 0 then
            s.last, s.lastn, s.beyond, s.used = -1, 0, 0, 0
            return
          end
          if a == s.last then s.last, s.lastn = split(call('LINDEX', key, -1)) end
        end
        call('LSET', key, -1, text(s.last, s.lastn, s.beyond))
        s.used = s.len + s.beyond
        return
      end
    end
    to = from - 1
  end
end

-- Books denied units: as many as fit, and the others in place of the oldest uses. The units of a
-- bar, and those that lie in the future, stay where they are.
local function punish(key, s)
  local at, units, i = stamp(s, now), math.min(s.cost, s.limit), 0
  local rest = math.max(units - math.max(s.limit - s.used, 0), 0)
  while rest > 0 and i < s.len do
    local a, n = split(call('LINDEX', key, i))
    if a > at then break end
    if n >= 1073741824 then -- a bar
      i = i + 1
    else
      local k = math.min(rest, n)
      rest = rest - k
      take(key, s, a, k)
    end
  end
  if units > rest then add(key, s, at, units - rest) end
end
