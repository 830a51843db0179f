package rediscache

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
)

// Leases after those of Facebook's memcache (Nishtala et al., NSDI 2013): who misses
// asks for one, and a write of the key ends it, so that what was loaded before the write
// cannot be stored after it. Every script works on one slot.
var (
	// KEYS value, lease; ARGV value, milliseconds, channel, message
	setScript = redis.NewScript(`
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1`)
	// KEYS value, lease; ARGV channel, message
	deleteScript = redis.NewScript(`
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1`)
	// KEYS value, lease; ARGV token, milliseconds, hash of the value that was seen
	leaseScript = redis.NewScript(`
local value = redis.call('GET', KEYS[1])
if value and redis.sha1hex(value) ~= ARGV[3] then return 2 end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0`)
	// KEYS lease; ARGV token, milliseconds
	extendScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0`)
	// KEYS value, lease; ARGV token, value, milliseconds
	fillScript = redis.NewScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1`)
	// KEYS lease; ARGV token
	releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)
)

// Lease implements cache.Leaser.
func (s *Store) Lease(ctx context.Context, ttl time.Duration, leases ...cache.Lease) ([]cache.LeaseState, error) {
	for _, l := range leases {
		if err := cache.Validate(ctx, l.Key, ttl); err != nil {
			return nil, err
		}
	}
	answers, err := s.askAll(ctx, leaseScript, len(leases), func(i int) ([]string, []any) {
		l := leases[i]
		return []string{s.key(l.Key), s.leaseKey(l.Key)}, []any{l.Token, ttl.Milliseconds(), seenHash(l.Seen)}
	})
	states := make([]cache.LeaseState, len(answers))
	for i, n := range answers {
		states[i] = []cache.LeaseState{cache.LeaseHeld, cache.LeaseGranted, cache.LeaseMoot}[n]
	}
	return states, err
}

// Extend implements cache.Leaser.
func (s *Store) Extend(ctx context.Context, ttl time.Duration, leases ...cache.Lease) error {
	_, err := s.askAll(ctx, extendScript, len(leases), func(i int) ([]string, []any) {
		return []string{s.leaseKey(leases[i].Key)}, []any{leases[i].Token, ttl.Milliseconds()}
	})
	return err
}

// Fill implements cache.Leaser. A fill is not told to other processes: whoever has an
// older value has heard of the write that made it old.
func (s *Store) Fill(ctx context.Context, fills ...cache.Fill) (kept []bool, err error) {
	var small []cache.Fill
	for _, f := range fills {
		if err := cache.Validate(ctx, f.Key, f.TTL); err != nil {
			return nil, err
		}
		if len(f.Value) <= s.opts.MaxValue {
			small = append(small, f)
		}
	}
	answers, err := s.askAll(ctx, fillScript, len(small), func(i int) ([]string, []any) {
		f := small[i]
		return []string{s.key(f.Key), s.leaseKey(f.Key)}, []any{f.Token, f.Value, f.TTL.Milliseconds()}
	})
	if err != nil {
		return nil, err
	}
	kept = make([]bool, len(fills))
	for i, f := range fills {
		if len(f.Value) > s.opts.MaxValue {
			err = s.tooLarge(f.Value)
			continue
		}
		kept[i], answers = answers[0] == 1, answers[1:]
	}
	return kept, err
}

// Release implements cache.Leaser.
func (s *Store) Release(ctx context.Context, leases ...cache.Lease) error {
	_, err := s.askAll(ctx, releaseScript, len(leases), func(i int) ([]string, []any) {
		return []string{s.leaseKey(leases[i].Key)}, []any{leases[i].Token}
	})
	return err
}

// askAll runs a script n times in one round trip, or one for each node.
func (s *Store) askAll(ctx context.Context, script *redis.Script, n int, arguments func(i int) ([]string, []any)) ([]int, error) {
	switch n {
	case 0:
		return nil, ctx.Err()
	case 1:
		keys, args := arguments(0)
		answer, err := s.ask(ctx, script, keys, args...)
		return []int{answer}, err
	}
	answers, err := do(ctx, s, func(ctx context.Context) ([]int, error) {
		commands := make([]*redis.Cmd, n)
		_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range n {
				keys, args := arguments(i)
				commands[i] = script.Eval(ctx, p, keys, args...)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		answers := make([]int, n)
		for i, command := range commands {
			if answers[i], err = command.Int(); err != nil {
				return nil, err
			}
		}
		return answers, nil
	})
	return answers, wrap(err)
}
