package redislimit

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
)

// GCRA is redis_rate's script without its faults. A cost above
// the burst, to which it answers with a wait that never ends, has been refused before;
// its own peek writes and loses RetryAfter, and a refund that empties its bucket is not
// stored, so those two are done here on the instant that it keeps.

// gcraPrefix is what redis_rate puts before every key.
const gcraPrefix = "rate:"

// gcraEpoch is the second that redis_rate counts from: 2017-01-01.
const gcraEpoch = 1483228800

// Microseconds until the bucket is full again.
var gcraDebt = newScript(fmt.Sprintf(`
local t = redis.call('TIME')
local full = redis.call('GET', KEYS[1])
if not full then return 0 end
return math.max(0, math.ceil((full - (t[1] - %d)) * 1000000 - t[2]))
`, gcraEpoch))

// Takes units whether they fit now or not: ARGV[1] microseconds, if the bucket is full again
// ARGV[2] microseconds from now at the latest, and the units may be used ARGV[3] microseconds
// later than now.
var gcraTake = newScript(fmt.Sprintf(`
local t = redis.call('TIME')
local now = (t[1] - %[1]d) * 1000000 + t[2]
local full = tonumber(redis.call('GET', KEYS[1]) or 0) * 1000000
local debt = math.max(0, full - now)
local wait = math.max(0, math.ceil(debt + ARGV[1] - ARGV[2]))
if wait > tonumber(ARGV[3]) then return { 0, math.ceil(debt), wait } end
debt = math.min(debt + ARGV[1], 64 * ARGV[2])
redis.call('SET', KEYS[1], string.format('%%.6f', (now + debt) / 1000000), 'PX', math.ceil(debt / 1000) + 1)
return { 1, math.ceil(debt), wait }
`, gcraEpoch))

// Takes ARGV[1] microseconds off, once for KEYS[2], which names the request, unless the key
// has been reset in the last ARGV[2] microseconds. ARGV[3] microseconds are the most debt.
var gcraSettle = newScript(fmt.Sprintf(`
if not redis.call('SET', KEYS[2], 1, 'NX', 'PX', 60000) then return 0 end
local t = redis.call('TIME')
local now = (t[1] - %[1]d) * 1000000 + t[2]
local reset = redis.call('GET', KEYS[1] .. ':g')
if tonumber(ARGV[1]) > 0 and reset and tonumber(reset) >= now - ARGV[2] then return 0 end
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0) * 1000000, now)
local debt = math.min(full - now - ARGV[1], tonumber(ARGV[3]))
if debt <= 0 then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], string.format('%%.6f', (now + debt) / 1000000), 'PX', math.ceil(debt / 1000) + 1)
return 1
`, gcraEpoch))

// Takes units that this process has allowed during an outage, even if they do not fit. KEYS[2]
// names the batch, which may come twice. ARGV: us that the bucket may lie in debt, two that only
// merge.lua reads, us since the batch was made, then for each use: us before that, us that its
// units take to flow in. Returns for each when the bucket was full again, in us after the use. It is
// 0 the second time: no units can be given back then.
var gcraMerge = newScript(fmt.Sprintf(`
local t = redis.call('TIME')
local now = (t[1] - %[1]d) * 1000000 + t[2]
local full, reply = tonumber(redis.call('GET', KEYS[1]) or 0) * 1000000, {}
local first = redis.call('SET', KEYS[2], 1, 'NX', 'PX', math.ceil(ARGV[3] / 1000) + 60000)
local reset = tonumber(redis.call('GET', KEYS[1] .. ':g') or 0)
for i = 5, #ARGV, 2 do
  local at = now - ARGV[4] - ARGV[i]
  local after = 0
  if first and at > reset then
    full = math.min(math.max(full, at) + ARGV[i + 1], now + ARGV[1])
    after = math.max(0, math.ceil(full - at))
  end
  reply[#reply + 1] = after
end
if full > now then
  redis.call('SET', KEYS[1], string.format('%%.6f', full / 1000000), 'PX', math.ceil((full - now) / 1000) + 1)
end
return reply
`, gcraEpoch))

// Forgets a key and fills its bucket again ARGV[1] microseconds from now. ARGV[2]: ms for
// which the reset is remembered.
var gcraBar = newScript(fmt.Sprintf(`
local t = redis.call('TIME')
local now = (t[1] - %[1]d) * 1000000 + t[2]
redis.call('SET', KEYS[1] .. ':g', string.format('%%.0f', now), 'PX', ARGV[2])
if ARGV[1] == '0' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], string.format('%%.6f', (now + ARGV[1]) / 1000000), 'PX', math.ceil(ARGV[1] / 1000) + 1)
return 1
`, gcraEpoch))

func (c *call) perUnit() time.Duration { return c.l.policy.Window / time.Duration(c.limit) }

// flow is the time in which units flow in. It counts at most the largest debt, because the
// product must not overflow.
func (c *call) flow(units int) time.Duration {
	return c.perUnit() * time.Duration(min(units, 64*c.limit))
}

func (s *Store) takeGCRA(ctx context.Context, c *call) error {
	per, limit, cost := c.perUnit(), c.res.Limit, c.check.Cost
	sent := time.Now()
	var reply []int64
	var err error
	switch {
	case cost == 0:
		reply, err = s.peekGCRA(ctx, gcraPrefix+c.at(), limit, per)
	case c.check.Debt || c.check.Within > 0:
		reply, err = s.extendGCRA(ctx, c, per)
	default:
		reply, err = c.plainGCRA(ctx, per)
	}
	if err != nil {
		return err
	}
	if reset := time.Duration(reply[4]) * time.Microsecond; reset > 0 {
		reply[3] = ((reset-1)%per + 1).Microseconds() + 1
	}
	if retry := reply[2]; reply[0] == 0 && retry > 0 { // rounding must not change their order
		reply[3], reply[4] = min(reply[3], retry), max(reply[4], retry)
	}
	c.read(reply, sent)
	if c.res.Allowed && cost > 0 && !c.res.Shadowed {
		c.granted(cost)
	}
	return nil
}

func (c *call) plainGCRA(ctx context.Context, per time.Duration) ([]int64, error) {
	limit := c.res.Limit
	r, err := c.l.gcra.AllowN(ctx, c.at(), redis_rate.Limit{Rate: limit, Burst: limit, Period: c.l.policy.Window}, c.check.Cost)
	if err != nil {
		return nil, err
	}
	// Its Remaining loses a unit to rounding now and then, and is 0 on denial even
	// when a smaller cost would fit; ResetAfter contains the used units. The
	// rounding of floats must not make a client come early either.
	slack := min(10*time.Microsecond, per/2)
	used := min(int64((r.ResetAfter-slack+per-1)/per), int64(limit))
	if r.Allowed > 0 {
		return []int64{1, used, 0, 0, r.ResetAfter.Microseconds(), 0, 0, 0}, nil
	}
	return []int64{0, used, r.RetryAfter.Microseconds() + 2, 0, r.ResetAfter.Microseconds(), 0, 0, 0}, nil
}

// extendGCRA takes units that may wait, and debt.
func (s *Store) extendGCRA(ctx context.Context, c *call, per time.Duration) ([]int64, error) {
	within := c.check.Within
	most := time.Duration(min(int64(c.l.queue), (1<<62)/int64(per))) * per
	if c.check.Debt {
		within = 1 << 62
	} else {
		within = min(within, most)
	}
	got, err := s.integers(ctx, 3, gcraTake, []string{gcraPrefix + c.at()}, c.flow(c.check.Cost).Microseconds(), c.l.policy.Window.Microseconds(), within.Microseconds())
	if err != nil {
		return nil, err
	}
	used := min((got[1]*1000+int64(per)-1)/int64(per), int64(c.res.Limit))
	reply := []int64{got[0], used, 0, 0, got[1], 0, 0, 0}
	switch {
	case got[0] == 0 && time.Duration(got[2])*time.Microsecond > most:
		reply[2], reply[7] = got[2], -1
	case got[0] == 0:
		reply[2] = got[2]
	case !c.check.Debt:
		reply[7] = got[2]
	}
	return reply, nil
}

func (s *Store) peekGCRA(ctx context.Context, key string, limit int, per time.Duration) ([]int64, error) {
	got, err := s.integers(ctx, 1, gcraDebt, []string{key})
	if err != nil {
		return nil, err
	}
	debt := got[0]
	full := time.Duration(debt) * time.Microsecond
	over := full - per*time.Duration(limit-1)
	reply := []int64{0, min(int64((full+per-1)/per), int64(limit)), int64((max(over, 0) + time.Microsecond - 1) / time.Microsecond), 0, debt, 0, 0, 0}
	if over <= 0 {
		reply[0] = 1
	}
	return reply, nil
}

func (s *Store) settleGCRA(ctx context.Context, c *call, from, cost int) error {
	back := c.flow(from - cost)
	if cost > from {
		back = -c.flow(cost - from)
	} else if back > 0 {
		// Units that have flowed in since are free already. Redis booked after c.sent, so this gives
		// back too little, by the time that the booking was under way, and never too much.
		full := c.res.ResetAfter
		if c.flows > 0 {
			full = c.flows
		}
		if back = min(back, full-time.Since(c.sent)); back <= 0 {
			return nil
		}
	}
	key := gcraPrefix + c.at()
	_, err := s.eval(ctx, gcraSettle, []string{key, key + ":" + rand.Text()},
		back.Microseconds(), time.Since(c.sent).Microseconds(), 64*c.l.policy.Window.Microseconds())
	return err
}

func (s *Store) barGCRA(ctx context.Context, redisKey string, window time.Duration, limit int, wait time.Duration) error {
	full := int64(0)
	if wait > 0 {
		full = (wait + window/time.Duration(max(limit, 1))*time.Duration(max(limit, 1)-1)).Microseconds()
	}
	_, err := s.eval(ctx, gcraBar, []string{gcraPrefix + redisKey}, full, window.Milliseconds()+60000)
	return err
}

// rediser is the store as a client for redis_rate.
type rediser struct{ s *Store }

func (r rediser) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	source, ok := rateSources.Load(sha)
	if !ok {
		cmd.SetErr(errNoScript{}) // redis_rate comes with the source next
		return cmd
	}
	value, err := r.s.eval(ctx, source.(*script), keys, args...)
	if cmd.SetVal(value); err != nil {
		cmd.SetErr(err)
	}
	return cmd
}

func (r rediser) Eval(ctx context.Context, source string, keys []string, args ...any) *redis.Cmd {
	sc := newScript(source)
	rateSources.Store(sc.sha, sc)
	return r.EvalSha(ctx, sc.sha, keys, args...)
}

func (r rediser) EvalRO(ctx context.Context, source string, keys []string, args ...any) *redis.Cmd {
	return r.Eval(ctx, source, keys, args...)
}

func (r rediser) EvalShaRO(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return r.EvalSha(ctx, sha, keys, args...)
}

func (r rediser) ScriptExists(ctx context.Context, hashes ...string) *redis.BoolSliceCmd {
	return r.s.client.ScriptExists(ctx, hashes...)
}

func (r rediser) ScriptLoad(ctx context.Context, source string) *redis.StringCmd {
	return r.s.client.ScriptLoad(ctx, source)
}

func (r rediser) Del(ctx context.Context, keys ...string) *redis.IntCmd {
	return r.s.client.Del(ctx, keys...)
}

// rateSources are the scripts of redis_rate by their names.
var rateSources sync.Map

type errNoScript struct{}

func (errNoScript) Error() string { return "NOSCRIPT No matching script." }
func (errNoScript) RedisError()   {}
