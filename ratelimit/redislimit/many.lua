-- Many decisions of the usual kind, each by itself. ARGV, two a key: limit, window in us. The
-- reply has the four integers of usual.lua for each key, the first of which is -1 where it cannot
-- decide. An instant is a microsecond later than the one before it, which is earlier than the
-- clock by then.
local reply, n = {}, 0
local l, w, limit, window
for i, key in ipairs(KEYS) do
  if ARGV[2 * i - 1] ~= l then
    l = ARGV[2 * i - 1]
    limit = tonumber(l)
  end
  if ARGV[2 * i] ~= w then
    w = ARGV[2 * i]
    window = tonumber(w)
  end
  local head = redis.pcall('LINDEX', key, '0')
  local used, nextfree, reset, at
  if type(head) ~= 'table' then -- a key of another kind
    used, nextfree, reset, at = usual(key, head, limit, window, now + i - 1)
  end
  reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = used or -1, nextfree or 0, reset or 0, at or 0
  n = n + 4
end
return reply
