-- Books what a process has allowed while it could not reach this server. KEYS[2] names the
-- batch: it comes again when its reply was lost. ARGV: grain, limit, window in us, us since the
-- batch was made, then for each use: us before that, units. Returns the instants to find them by.
-- A use from before a reset of the key is left out.
local key = KEYS[1]
local s = { grain = tonumber(ARGV[1]), limit = tonumber(ARGV[2]), window = tonumber(ARGV[3]) }
local made = call('GET', KEYS[2])
local first = not made
if first then
  made = now - ARGV[4]
  call('SET', KEYS[2], string.format('%.0f', made), 'PX', math.ceil(s.window / 1000) + 60000)
end
local reset = tonumber(call('GET', key .. ':g') or 0)
look(key, s)
local reply = {}
for i = 5, #ARGV, 2 do
  local use = made - ARGV[i]
  local at = stamp(s, use)
  if first and use > reset and at + s.window > now then add(key, s, at, tonumber(ARGV[i + 1])) end
  reply[#reply + 1] = at
end
return reply
