package sessionstore

import (
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // compares values of one key; Redis has no other hash
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"
)

// A session is valid as long as its user's state is the same as at its start. The state is
// a random text under its own key, which outlives the user's sessions. EndAll deletes it,
// and the next Start creates another. A lost state ends sessions.

// record is the stored form of a session.
type record struct {
	User  string `msgpack:"u"`
	State string `msgpack:"s"`
	Ends  int64  `msgpack:"e"` // Unix milliseconds
	Data  []byte `msgpack:"d"`
}

const (
	saveEnded = iota
	saveConflict
)

var (
	// KEYS state; ARGV a new state, milliseconds that it must last
	stateScript = redis.NewScript(`
local state = redis.call('GET', KEYS[1])
if not state then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return state`)
	// KEYS session; ARGV hash of the record that was read, new record
	saveScript = redis.NewScript(`
local now = redis.call('GET', KEYS[1])
if not now then return 0 end
if redis.sha1hex(now) ~= ARGV[1] then return 1 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', math.max(redis.call('PTTL', KEYS[1]), 1))
return 2`)
)

// state returns the state of a user, and makes it last for at least ttl.
func (s *Store) state(ctx context.Context, user string, ttl time.Duration) (string, error) {
	ttl += time.Minute // longer than any session that has it
	return call(ctx, s, func(ctx context.Context) (string, error) {
		return stateScript.Run(ctx, s.client, []string{s.userKey(user)}, rand.Text(), ttl.Milliseconds()).Text()
	})
}

func (s *Session) encode() ([]byte, error) {
	data, err := msgpack.Marshal(&record{s.User, s.state, s.Ends.UnixMilli(), s.Data})
	if err != nil {
		return nil, fmt.Errorf("sessionstore: encode: %w", err)
	}
	return data, nil
}

// put stores a session for ttl.
func (s *Store) put(ctx context.Context, stored *Session, ttl time.Duration) error {
	data, err := stored.encode()
	if err != nil {
		return err
	}
	stored.seen = data
	_, err = call(ctx, s, func(ctx context.Context) (string, error) {
		return s.client.Set(ctx, s.key(stored.token), data, max(ttl, time.Millisecond)).Result()
	})
	return err
}

// stored returns the record of a token, even if it has ended, and its remaining life.
func (s *Store) stored(ctx context.Context, token string) (*Session, time.Duration, error) {
	if !plausible(token) {
		return nil, 0, ctx.Err()
	}
	var left time.Duration
	data, err := call(ctx, s, func(ctx context.Context) ([]byte, error) {
		var value *redis.StringCmd
		var ttl *redis.DurationCmd
		_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			value, ttl = p.Get(ctx, s.key(token)), p.PTTL(ctx, s.key(token))
			return nil
		})
		if err != nil {
			return nil, err
		}
		left = ttl.Val()
		return value.Bytes()
	})
	if errors.Is(err, redis.Nil) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var r record
	readable := msgpack.Unmarshal(data, &r) == nil
	if !readable || left <= 0 {
		return nil, 0, nil // not a session, or without an expiry: it does not log a user in
	}
	return &Session{User: r.User, Data: r.Data, Ends: time.UnixMilli(r.Ends), token: token, state: r.State, seen: data}, left, nil
}

// read returns the session of a token, or nil if it has ended.
func (s *Store) read(ctx context.Context, token string) (*Session, time.Duration, error) {
	found, left, err := s.stored(ctx, token)
	if found == nil || err != nil || !time.Now().Before(found.Ends) {
		return nil, 0, err
	}
	state, err := call(ctx, s, func(ctx context.Context) (string, error) { return s.client.Get(ctx, s.userKey(found.User)).Result() })
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, 0, err
	}
	if state == "" || state != found.state {
		return nil, 0, nil
	}
	return found, left, nil
}

func sha1Hex(data []byte) string {
	sum := sha1.Sum(data) //nolint:gosec // as above
	return hex.EncodeToString(sum[:])
}
