-- Forgets what a key has used, and then refuses it for a while. ARGV: window in us, us to
-- refuse it for.
local window, wait = tonumber(ARGV[1]), tonumber(ARGV[2])
local key = KEYS[1]
call('DEL', key, key .. ':f')
call('SET', key .. ':g', string.format('%.0f', now), 'PX', math.ceil(window / 1000) + 60000)
if wait > 0 then
  call('RPUSH', key, text(now + wait - window, 1073741824, 1073741823))
  call('PEXPIRE', key, math.ceil(wait / 1000) + 1)
end
return 1
