-- What take.lua would find, without a write. ARGV, three a key: algorithm, limit,
-- window in us. Returns the same six integers a key, for a cost of 1.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local cells, reply = 64, {}

for i, key in ipairs(KEYS) do
  local a = (i - 1) * 3
  local exact, limit, window = ARGV[a + 1] == '0', tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  local used, retry, nextfree, reset = 0, 0, 0, 0
  if exact then
    local length = redis.call('LLEN', key)
    local function left(j) return redis.call('LINDEX', key, j) + window - now end
    local low, high = 0, length -- the first that is still in the window
    while low < high do
      local middle = math.floor((low + high) / 2)
      if left(middle) <= 0 then low = middle + 1 else high = middle end
    end
    used = length - low
    if used > 0 then
      nextfree, reset = left(low), left(length - 1)
      if used + 1 > limit then retry = left(low + used - limit) end
    end
  else
    local width, buckets = math.ceil(window / (cells - 1)), {}
    local all = redis.call('HGETALL', key)
    for j = 1, #all, 2 do
      local leaves = (all[j] + cells) * width - now
      if leaves > 0 then
        buckets[#buckets + 1] = { leaves, tonumber(all[j + 1]) }
        used = used + all[j + 1]
      end
    end
    if used > 0 then
      table.sort(buckets, function(x, y) return x[1] < y[1] end)
      nextfree, reset = buckets[1][1], buckets[#buckets][1]
      local need, j = used + 1 - limit, 0
      while need > 0 do
        j = j + 1
        need = need - buckets[j][2]
        retry = buckets[j][1]
      end
    end
  end
  for _, v in ipairs({ used < limit and 1 or 0, used, retry, nextfree, reset, 0 }) do
    reply[#reply + 1] = v
  end
end
return reply
