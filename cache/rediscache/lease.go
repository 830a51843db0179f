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
func (s *Store) Lease(ctx context.Context, key, token string, seen []byte, ttl time.Duration) (cache.LeaseState, error) {
	if err := cache.Validate(ctx, key, ttl); err != nil {
		return 0, err
	}
	n, err := s.ask(ctx, leaseScript, []string{s.key(key), s.leaseKey(key)}, token, ttl.Milliseconds(), seenHash(seen))
	switch n {
	case 1:
		return cache.LeaseGranted, err
	case 2:
		return cache.LeaseMoot, err
	}
	return cache.LeaseHeld, err
}

// Extend implements cache.Leaser.
func (s *Store) Extend(ctx context.Context, key, token string, ttl time.Duration) error {
	return s.run(ctx, extendScript, []string{s.leaseKey(key)}, token, ttl.Milliseconds())
}

// Fill implements cache.Leaser. A fill is not told to other processes: whoever has an
// older value has heard of the write that made it old.
func (s *Store) Fill(ctx context.Context, key, token string, value []byte, ttl time.Duration) (bool, error) {
	if err := cache.Validate(ctx, key, ttl); err != nil {
		return false, err
	}
	if len(value) > s.opts.MaxValue {
		return false, s.tooLarge(value)
	}
	n, err := s.ask(ctx, fillScript, []string{s.key(key), s.leaseKey(key)}, token, value, ttl.Milliseconds())
	return n == 1, err
}

// Release implements cache.Leaser.
func (s *Store) Release(ctx context.Context, key, token string) error {
	return s.run(ctx, releaseScript, []string{s.leaseKey(key)}, token)
}
