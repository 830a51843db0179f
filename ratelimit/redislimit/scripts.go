package redislimit

import (
	"crypto/sha1" //nolint:gosec // it is how Redis names scripts
	_ "embed"     // the scripts
	"encoding/hex"
)

var (
	//go:embed usual.lua
	usualSource string
	//go:embed many.lua
	manySource string
	//go:embed fast.lua
	fastSource string
	//go:embed window.lua
	windowSource string
	//go:embed take.lua
	takeSource string
	//go:embed settle.lua
	settleSource string
	//go:embed bar.lua
	barSource string
	//go:embed merge.lua
	mergeSource string
	//go:embed lease.lua
	leaseSource string
	//go:embed acquire.lua
	acquireSource string
	//go:embed renew.lua
	renewSource string
)

const clockSource = `
local call = redis.call
local t = call('TIME')
local now = t[1] * 1000000 + t[2]
`

var (
	takeScript    = newScript(usualSource + fastSource + windowSource + takeSource).lists()
	manyScript    = newScript(usualSource + manySource).lists()
	settleScript  = newScript(clockSource + windowSource + settleSource)
	barScript     = newScript(clockSource + windowSource + barSource)
	mergeScript   = newScript(clockSource + windowSource + mergeSource).lists()
	leaseScript   = newScript(clockSource + windowSource + leaseSource).lists()
	acquireScript = newScript(acquireSource)
	renewScript   = newScript(renewSource)
	freeScript    = newScript(`
local n = 0
for i = 1, tonumber(ARGV[1]) do n = n + redis.call('ZREM', KEYS[1], ARGV[2] .. ':' .. i) end
return n`)
	// Says that an instance lives and returns how many do. ARGV: its name, us that it does.
	beatScript = newScript(clockSource + `
call('ZREMRANGEBYSCORE', KEYS[1], 0, now)
call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
call('PEXPIRE', KEYS[1], math.ceil(ARGV[2] / 500))
return call('ZCARD', KEYS[1])`)
	// Finds out whether a node responds and accepts writes.
	probeScript = newScript(`redis.call('SET', KEYS[1], 1, 'PX', 1000) return 1`)
	leaveScript = newScript(`return redis.call('ZREM', KEYS[1], ARGV[1])`)
)

// script is a script and the name that Redis gives it.
type script struct {
	source, sha string
	list        bool // it returns a list of integers
}

func newScript(source string) *script {
	sum := sha1.Sum([]byte(source)) //nolint:gosec // see above
	return &script{source: source, sha: hex.EncodeToString(sum[:])}
}

func (s *script) lists() *script {
	s.list = true
	return s
}
