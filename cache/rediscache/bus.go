package rediscache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// The bus tells all processes of writes. A message is published by the script that
// writes, so there is no write without one, and none before its write. It has five
// fields: "1", the sender, the sender's count of messages, what was changed, a hash; of a
// beat the last is the sender's clock in nanoseconds.
const (
	opKey  = "k"
	opTag  = "t"
	opBeat = "b" // the sender is alive; the count is that of its last message

	beatEvery = time.Second
	// deafAfter is how long a process may not hear itself before it counts as deaf.
	deafAfter = 3 * time.Second
	// lateAfter is how much later than its successor a message may come: a process
	// sends its writes over several connections.
	lateAfter = time.Second
)

// bus is this process as a sender.
type bus struct {
	node  string
	sent  *atomic.Uint64
	began time.Time
}

func newBus() bus { return bus{node: rand.Text(), sent: new(atomic.Uint64), began: time.Now()} }

func (b *bus) clock() time.Duration { return time.Since(b.began) }

func (b *bus) channel(s *Store) string { return s.opts.Prefix + "bus" }

func (b *bus) message(op string, hash uint64) string {
	n := b.sent.Load()
	if op != opBeat {
		n = b.sent.Add(1)
	}
	return strings.Join([]string{"1", b.node, strconv.FormatUint(n, 10), op, strconv.FormatUint(hash, 16)}, " ")
}

// Run listens to the writes of other processes until ctx ends, so that what caches keep
// in memory before this store is dropped as soon as anybody changes it. Where messages
// may have been lost (the connection broke, a sender's count has a gap, nothing was
// heard for 3 s) all of it is dropped. Without Run it lives for NearLimitDeaf at most.
// It returns nil when everything that it started has ended.
func (s *Store) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	if s.opts.Tracking {
		wg.Go(func() { s.track(ctx) })
	}
	deaf := false // and said so: once, and not for each attempt
	for {
		why := s.listen(ctx)
		if s.stats.listening.Load() {
			deaf = false
		}
		s.hearing(&s.stats.listening, false)
		if ctx.Err() == nil {
			s.stats.deaf.Add(1)
			if hook := s.opts.Trace.Deaf; hook != nil {
				hook(ctx, why)
			}
			if !deaf {
				s.opts.Logger.WarnContext(ctx, "rediscache: the writes of other processes are not heard of for now", "error", why)
			}
			deaf = true
		}
		select {
		case <-time.After(beatEvery / 4):
		case <-ctx.Done():
			return nil
		}
	}
}

// listen subscribes and hears until something fails.
func (s *Store) listen(ctx context.Context) error {
	subscription := s.client.Subscribe(ctx, s.bus.channel(s))
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var closing sync.Once
	end := func() { closing.Do(func() { _ = subscription.Close() }) } // ends a Receive that waits
	defer end()
	stop := context.AfterFunc(ctx, end)
	defer stop()

	ear := ear{heard: time.Now(), senders: map[string]*sender{}}
	subscribed := false
	for {
		message, err := subscription.ReceiveTimeout(ctx, beatEvery/4)
		now := time.Now()
		var timeout interface{ Timeout() bool }
		switch {
		case errors.As(err, &timeout) && timeout.Timeout() && ctx.Err() == nil:
		case err != nil:
			return err
		}
		switch m := message.(type) {
		case *redis.Subscription:
			// What was read before now may have been changed unheard, also when the
			// client has connected again by itself.
			s.coh.AllChanged()
			s.hearing(&s.stats.listening, true)
			if hook := s.opts.Trace.Listening; hook != nil {
				hook(ctx)
			}
			if !subscribed {
				subscribed = true
				s.opts.Logger.InfoContext(ctx, "rediscache: the writes of other processes are heard of")
				wg.Go(func() { s.beat(ctx) })
			}
		case *redis.Message:
			s.hear(ctx, &ear, m.Payload, now)
		}
		if ear.lost(now) {
			s.coh.AllChanged()
			s.stats.lost.Add(1)
			if hook := s.opts.Trace.Lost; hook != nil {
				hook(ctx)
			}
		}
		if now.Sub(ear.heard) > deafAfter {
			return fmt.Errorf("rediscache: nothing was heard for %v", deafAfter)
		}
	}
}

// beat lets others, and this process itself, know that they can be heard.
func (s *Store) beat(ctx context.Context) {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		// That it failed is found by who hears nothing.
		_, _ = do(ctx, s, func(ctx context.Context) (int64, error) {
			return s.client.Publish(ctx, s.bus.channel(s), s.bus.message(opBeat, uint64(s.bus.clock()))).Result()
		})
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// hear takes in one message. What cannot be read may have meant anything.
func (s *Store) hear(ctx context.Context, e *ear, payload string, now time.Time) {
	fields := strings.Fields(payload)
	if len(fields) != 5 || fields[0] != "1" {
		s.coh.AllChanged()
		return
	}
	count, err1 := strconv.ParseUint(fields[2], 10, 64)
	hash, err2 := strconv.ParseUint(fields[4], 16, 64)
	op := fields[3]
	if err1 != nil || err2 != nil {
		s.coh.AllChanged()
		return
	}
	if fields[1] == s.bus.node {
		e.heard = now // its writes were taken in when they were made
		if op == opBeat {
			s.heardItself(ctx, max(s.bus.clock()-time.Duration(hash), 0)) //nolint:gosec // its own clock
		}
		return
	}
	if op == opBeat {
		e.upTo(fields[1], count, now)
		return
	}
	s.stats.heard.Add(1)
	e.got(fields[1], count, now)
	switch op {
	case opKey:
		s.coh.HashChanged(hash)
	case opTag:
		s.coh.TagHashChanged(hash)
	default:
		s.coh.AllChanged()
	}
}

// ear notices lost messages.
type ear struct {
	heard   time.Time // when this process last heard itself
	senders map[string]*sender
	gap     bool // more messages are missing than are worth remembering
}

type sender struct {
	last    uint64               // the highest count
	missing map[uint64]time.Time // lower ones that have not come, since when
	heard   time.Time
}

const (
	maxMissing  = 1_000
	forgetAfter = time.Minute
)

func (e *ear) sender(node string, count uint64, now time.Time) *sender {
	s, ok := e.senders[node]
	if !ok {
		s = &sender{last: count, missing: map[uint64]time.Time{}}
		e.senders[node] = s
	}
	s.heard = now
	return s
}

// got takes in message count of a sender.
func (e *ear) got(node string, count uint64, now time.Time) {
	e.upTo(node, count, now)
	delete(e.senders[node].missing, count)
}

// upTo notes that a sender has sent count messages.
func (e *ear) upTo(node string, count uint64, now time.Time) {
	s := e.sender(node, count, now)
	if count > s.last+maxMissing || len(s.missing) > maxMissing {
		e.gap = true
		s.last = count
		clear(s.missing)
		return
	}
	for ; s.last < count; s.last++ {
		s.missing[s.last+1] = now
	}
}

// lost reports once whether messages have not come and will not.
func (e *ear) lost(now time.Time) bool {
	lost := e.gap
	e.gap = false
	for node, s := range e.senders {
		for count, since := range s.missing {
			if now.Sub(since) > lateAfter {
				lost = true
				delete(s.missing, count)
			}
		}
		if now.Sub(s.heard) > forgetAfter {
			delete(e.senders, node)
		}
	}
	return lost
}
