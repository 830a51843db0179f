-- One decision of the usual kind. ARGV: limit, window in us. take.lua decides what usual.lua
-- cannot, and gives its own reply.
local ARGV = ARGV
if #ARGV == 2 then
  local used, nextfree, reset, at = usual(KEYS[1], call('LINDEX', KEYS[1], '0'), tonumber(ARGV[1]), tonumber(ARGV[2]), now)
  if used then return { used, nextfree, reset, at } end
  ARGV = { '0', ARGV[1], ARGV[2], '1', '0', '0', '0', '' }
end
