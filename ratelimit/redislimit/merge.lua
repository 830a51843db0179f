-- Books what a process has let in while it could not reach this server. ARGV: grain, limit,
-- window in us, then for each use: us ago, units. Returns the instants to find them by.
local key = KEYS[1]
local s = { grain = tonumber(ARGV[1]), limit = tonumber(ARGV[2]), window = tonumber(ARGV[3]) }
look(key, s)
local reply = {}
for i = 4, #ARGV, 2 do
  local at = stamp(s, now - ARGV[i])
  if at + s.window > now then add(key, s, at, tonumber(ARGV[i + 1])) end
  reply[#reply + 1] = at
end
return reply
