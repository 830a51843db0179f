package rediscache

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zeebo/xxh3"

	"github.com/mainstay-go/mainstay/cache"
)

// The state of a tag is a random text under a key of its own. Invalidating deletes it,
// and the next reader makes another: a state that was evicted, expired or lost with its
// server is never mistaken for one that still holds, as a counter would be.
const tagTTL = 24 * time.Hour

// KEYS tag; ARGV channel, message
var invalidateScript = redis.NewScript(`
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1`)

// Read implements cache.Tagger.
func (s *Store) Read(ctx context.Context, keys, tags []string) (values [][]byte, states []string, err error) {
	at := make([]string, 0, len(keys)+len(tags))
	for _, key := range keys {
		if key == "" {
			return nil, nil, cache.ErrEmptyKey
		}
		at = append(at, s.key(key))
	}
	for _, tag := range tags {
		at = append(at, s.tagKey(tag))
	}
	found, err := s.getAll(ctx, at)
	if err != nil {
		return nil, nil, wrap(err)
	}
	values = make([][]byte, len(keys))
	for i := range keys {
		if text, ok := found[i].(string); ok {
			values[i] = []byte(text)
		}
	}
	states = make([]string, len(tags))
	var missing []string
	for i := range tags {
		if state, ok := found[len(keys)+i].(string); ok {
			states[i] = state
		} else {
			missing = append(missing, at[len(keys)+i])
		}
	}
	if len(missing) == 0 {
		return values, states, nil
	}
	made, err := s.makeStates(ctx, missing)
	if err != nil {
		return nil, nil, wrap(err)
	}
	for i := range states {
		if states[i] == "" {
			states[i], made = made[0], made[1:]
		}
	}
	return values, states, nil
}

// getAll gets keys, as strings, and nil for those that are not there: with one command
// where one server has them all.
func (s *Store) getAll(ctx context.Context, keys []string) ([]any, error) {
	return again(ctx, s, func(ctx context.Context) ([]any, error) {
		if _, single := s.client.(*redis.Client); single {
			return s.client.MGet(ctx, keys...).Result()
		}
		commands := make([]*redis.StringCmd, len(keys))
		_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, key := range keys {
				commands[i] = p.Get(ctx, key)
			}
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, err
		}
		out := make([]any, len(keys))
		for i, command := range commands {
			text, err := command.Result()
			switch {
			case err == nil:
				out[i] = text
			case !errors.Is(err, redis.Nil):
				return nil, err
			}
		}
		return out, nil
	})
}

// makeStates gives tags states, or returns those that somebody else has given just now.
func (s *Store) makeStates(ctx context.Context, keys []string) ([]string, error) {
	return again(ctx, s, func(ctx context.Context) ([]string, error) {
		commands := make([]*redis.StringCmd, len(keys))
		_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, key := range keys {
				p.SetNX(ctx, key, rand.Text(), tagTTL)
				commands[i] = p.Get(ctx, key)
			}
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, err
		}
		states := make([]string, len(keys))
		for i, command := range commands {
			// Invalidated between the two: a state that never holds.
			if states[i], err = command.Result(); errors.Is(err, redis.Nil) {
				states[i] = rand.Text()
			} else if err != nil {
				return nil, err
			}
		}
		return states, nil
	})
}

// InvalidateTags implements cache.Tagger.
func (s *Store) InvalidateTags(ctx context.Context, tags ...string) error {
	if len(tags) == 0 {
		return ctx.Err()
	}
	defer func() {
		for _, tag := range tags {
			s.coh.TagChanged(tag)
		}
	}()
	if _, single := s.client.(*redis.Client); !single && len(tags) > 1 {
		// The nodes of a Cluster answer in any order.
		if err := s.invalidate(ctx, tags[:1]); err != nil {
			return err
		}
		return s.invalidate(ctx, tags[1:])
	}
	return s.invalidate(ctx, tags)
}

func (s *Store) invalidate(ctx context.Context, tags []string) error {
	_, err := again(ctx, s, func(ctx context.Context) (struct{}, error) {
		_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, tag := range tags {
				invalidateScript.Eval(ctx, p, []string{s.tagKey(tag)}, s.bus.channel(s), s.bus.message(opTag, xxh3.HashString(tag)))
			}
			return nil
		})
		return struct{}{}, err
	})
	return wrap(err)
}
