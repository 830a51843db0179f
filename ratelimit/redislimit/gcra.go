package redislimit

import (
	"context"
	"fmt"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
)

// GCRA is redis_rate's script, with what is wrong in it kept out of reach. A cost above
// the burst, to which it answers with a wait that never ends, has been refused before;
// its own peek writes and loses RetryAfter, and a refund that empties its bucket is not
// stored, so those two are done here on the instant that it keeps.

// gcraPrefix is what redis_rate puts before every key.
const gcraPrefix = "rate:"

// gcraEpoch is the second that redis_rate counts from: 2017-01-01.
const gcraEpoch = 1483228800

// Microseconds until the bucket is full again.
var gcraDebt = redis.NewScript(fmt.Sprintf(`
local t = redis.call('TIME')
local full = redis.call('GET', KEYS[1])
if not full then return 0 end
return math.max(0, math.ceil((full - (t[1] - %d)) * 1000000 - t[2]))
`, gcraEpoch))

// Takes ARGV[1] microseconds off, once for KEYS[2], which names the request for the
// ARGV[2] milliseconds within which the client may send it again.
var gcraRefund = redis.NewScript(fmt.Sprintf(`
if not redis.call('SET', KEYS[2], 1, 'NX', 'PX', ARGV[2]) then return 0 end
local t = redis.call('TIME')
local full = redis.call('GET', KEYS[1])
if not full then return 0 end
local debt = (full - (t[1] - %d)) * 1000000 - t[2] - ARGV[1]
if debt <= 0 then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], string.format('%%.6f', full - ARGV[1] / 1000000), 'PX', math.ceil(debt / 1000))
return 1
`, gcraEpoch))

func (c *call) perUnit() time.Duration { return c.l.policy.Window / time.Duration(c.res.Limit) }

func (s *Store) takeGCRA(ctx context.Context, c *call) error {
	per, limit, cost, key, limiter := c.perUnit(), c.res.Limit, c.cost, c.at(), c.l.gcra
	rate := redis_rate.Limit{Rate: limit, Burst: limit, Period: c.l.policy.Window}
	sent := time.Now()
	reply, err := ask(ctx, s, func(ctx context.Context) ([]int64, error) {
		if cost == 0 {
			return s.peekGCRA(ctx, gcraPrefix+key, limit, per)
		}
		r, err := limiter.AllowN(ctx, key, rate, cost)
		if err != nil {
			return nil, err
		}
		// Its Remaining loses a unit to rounding now and then, and is 0 on denial even
		// when a smaller cost would fit; ResetAfter says what is used. What floats
		// lose on the way must not make a client come early either.
		slack := min(10*time.Microsecond, per/2)
		used := min(int64((r.ResetAfter-slack+per-1)/per), int64(limit))
		if r.Allowed > 0 {
			return []int64{1, used, 0, 0, r.ResetAfter.Microseconds(), 0}, nil
		}
		return []int64{0, used, r.RetryAfter.Microseconds() + 2, 0, r.ResetAfter.Microseconds(), 0}, nil
	})
	if err != nil {
		return err
	}
	if reset := time.Duration(reply[4]) * time.Microsecond; reset > 0 {
		reply[3] = ((reset-1)%per + 1).Microseconds() + 1
	}
	if retry := reply[2]; reply[0] == 0 && retry > 0 { // rounding must not change their order
		reply[3], reply[4] = min(reply[3], retry), max(reply[4], retry)
	}
	settle([]*call{c}, reply, sent)
	return nil
}

func (s *Store) peekGCRA(ctx context.Context, key string, limit int, per time.Duration) ([]int64, error) {
	debt, err := gcraDebt.Run(ctx, s.client, []string{key}).Int64()
	if err != nil {
		return nil, err
	}
	full := time.Duration(debt) * time.Microsecond
	over := full - per*time.Duration(limit-1)
	reply := []int64{0, min(int64((full+per-1)/per), int64(limit)), int64((max(over, 0) + time.Microsecond - 1) / time.Microsecond), 0, debt, 0}
	if over <= 0 {
		reply[0] = 1
	}
	return reply, nil
}

func (s *Store) cancelGCRA(ctx context.Context, c *call) error {
	// What has flowed in since is free already. Redis booked after c.sent, so this gives
	// back too little, by the time that the booking was under way, and never too much.
	back := min(c.perUnit()*time.Duration(c.cost), c.res.ResetAfter-time.Since(c.sent)).Microseconds()
	if back <= 0 {
		return nil
	}
	key := gcraPrefix + c.at()
	keys, again := []string{key, onceKey(key)}, s.resend().Milliseconds()
	_, err := ask(ctx, s, func(ctx context.Context) (int64, error) {
		return gcraRefund.Run(ctx, s.client, keys, back, again).Int64()
	})
	return err
}
