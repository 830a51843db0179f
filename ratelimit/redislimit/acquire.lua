-- Takes slots of a key if they are free. ARGV: limit, lease in us, weight, the holder's name.
-- Returns: whether it did, how many are taken, the fencing token.
-- The set holds a name for each slot, scored by the instant at which it runs out, and
-- beside them the last token, negative so that nothing takes it for a slot.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local key, lease, weight, name = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
redis.call('ZREMRANGEBYSCORE', key, 0, string.format('%.0f', now))
local used = redis.call('ZCOUNT', key, 0, '+inf')
if redis.call('ZSCORE', key, name .. ':1') then
  used = used - weight -- the same question again: its answer was lost on the way
elseif used + weight > tonumber(ARGV[1]) then
  return { 0, used, 0 }
end
local last = -(redis.call('ZSCORE', key, 'token') or 0)
local token = math.max(now, last + 1)
for i = 1, weight do
  redis.call('ZADD', key, string.format('%.0f', now + lease), name .. ':' .. i)
end
redis.call('ZADD', key, string.format('%.0f', -token), 'token')
local keep = math.ceil(lease / 500) -- two leases, in ms: the last token outlives the slots
if redis.call('PTTL', key) < keep then
  redis.call('PEXPIRE', key, keep)
end
return { 1, used + weight, token }
