-- Changes the cost of bookings. ARGV, eight a key: instant, units booked, units used,
-- grain, limit, window in us, us since the booking was asked for, its member of the units in
-- flight or ''.
-- KEYS, two a key: the log, and a name that is new for each settlement: a client may send
-- this command twice.
for i = 1, #KEYS, 2 do
  local key, a = KEYS[i], (i - 1) * 4
  local booked, used = tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  local s = { grain = tonumber(ARGV[a + 4]), limit = tonumber(ARGV[a + 5]), window = tonumber(ARGV[a + 6]) }
  if ARGV[a + 8] ~= '' then
    call('ZREM', key .. ':f', ARGV[a + 8])
  end
  if used ~= booked and call('SET', KEYS[i + 1], 1, 'NX', 'PX', 60000) then
    look(key, s)
    if used > booked then
      owe(key, s, used - booked)
    else
      -- What has been reset since has given everything back already.
      local reset = call('GET', key .. ':g')
      if not reset or tonumber(reset) < now - tonumber(ARGV[a + 7]) then
        take(key, s, tonumber(ARGV[a + 1]), booked - used)
      end
    end
  end
end
return 1
