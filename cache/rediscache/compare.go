package rediscache

import (
	"context"
	"crypto/sha1" //nolint:gosec // compares values of one key; Redis has no other hash
	"encoding/hex"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
)

// Both compare by hash, so that a value is not sent again only to be compared.
var (
	// KEYS value; ARGV hash of the value that was seen
	discardScript = redis.NewScript(`
local value = redis.call('GET', KEYS[1])
if value and redis.sha1hex(value) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)
	// KEYS value, lease; ARGV hash of the value that was seen, value, milliseconds,
	// channel, message
	swapScript = redis.NewScript(`
local value = redis.call('GET', KEYS[1])
if (value and redis.sha1hex(value) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1`)
)

// seenHash is how the scripts know a value; "" stands for none.
func seenHash(seen []byte) string {
	if seen == nil {
		return ""
	}
	sum := sha1.Sum(seen) //nolint:gosec // as above
	return hex.EncodeToString(sum[:])
}

// Discard implements cache.Comparer.
func (s *Store) Discard(ctx context.Context, key string, seen []byte) (bool, error) {
	if key == "" {
		return false, cache.ErrEmptyKey
	}
	if seen == nil {
		return false, ctx.Err()
	}
	n, err := s.ask(ctx, discardScript, []string{s.key(key)}, seenHash(seen))
	return n == 1, err
}

// Swap implements cache.Comparer.
func (s *Store) Swap(ctx context.Context, key string, seen, value []byte, ttl time.Duration) (bool, error) {
	if err := cache.Validate(ctx, key, ttl); err != nil {
		return false, err
	}
	if len(value) > s.opts.MaxValue {
		return false, s.tooLarge(value)
	}
	defer s.coh.KeyChanged(key)
	n, err := s.ask(ctx, swapScript, []string{s.key(key), s.leaseKey(key)}, seenHash(seen), value, ttl.Milliseconds(), s.bus.channel(s), s.bus.message(opKey, cache.KeyHash(key)))
	return n == 1, err
}
