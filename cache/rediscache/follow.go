package rediscache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	readBlock  = 500 * time.Millisecond
	readSlack  = 500 * time.Millisecond
	checkEvery = time.Second
	readCount  = 10_000 // entries in one read
	// logLife is how long the stream exists after its last read.
	logLife = time.Minute
	// readPause is the time between two reads of a busy log. The work of a process then
	// does not grow with the number of writers.
	readPause = 2 * time.Millisecond
)

// Run receives the invalidations of all processes until ctx ends. Values in memory are then
// as fresh as the messages. Run also applies the writes that a node did not receive. After
// a lost connection it reads the missing entries. If the log no longer has them, it drops
// the values in memory, spread over OfflineLimit.
//
// Without Run, values in memory live for at most OfflineLimit, and waiters for other
// processes poll. Values with tags of SetTags are not stored, and pending writes wait for
// the next operation on their key. Run returns nil after ctx has ended and everything that
// Run started has ended. It returns an error at once if the user of Redis lacks a right
// that it needs.
func (s *Store) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	if s.opts.Tracking {
		wg.Go(func() { s.track(ctx) })
	}
	for _, sh := range s.log.shards {
		wg.Go(func() {
			if err := sh.follow(ctx); err != nil {
				cancel(err)
			}
		})
	}
	for ctx.Err() == nil {
		pause(ctx, 200*time.Millisecond)
		s.applyWrites(ctx)
	}
	wg.Wait()
	s.log.setOnline()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// applyWrites sends pending writes and messages.
func (s *Store) applyWrites(ctx context.Context) {
	for _, sh := range s.log.shards {
		sh.out.Lock()
		unsent := len(sh.unsent) > 0 && sh.sent == nil
		sh.out.Unlock()
		if unsent {
			sh.flush()
		}
	}
	for ctx.Err() == nil && s.pending.count.Load() > 0 {
		before := s.pending.count.Load()
		s.Do(ctx, s.pending.some(512))
		after := s.pending.count.Load()
		if applied := before - after; applied > 0 {
			s.stats.applied.Add(uint64(applied))
			continue
		}
		return
	}
}

// follow reads a stream until ctx ends. It returns an error for a lack of rights.
func (sh *shard) follow(ctx context.Context) error {
	s := sh.log.s
	warned, shortened := false, false
	defer sh.set(false)
	for ctx.Err() == nil {
		err := sh.read(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			if warned {
				s.opts.Logger.InfoContext(ctx, "rediscache: invalidations are received again")
			}
			warned, shortened = false, false
			continue
		case denied(err):
			err = fmt.Errorf("rediscache: Run needs XADD, XREAD, XRANGE, XTRIM, PEXPIRE, EVALSHA and EVAL on the key %q: %w", sh.key, err)
			s.opts.Logger.ErrorContext(ctx, "rediscache: invalidations cannot be received", "error", err)
			return err
		}
		sh.set(false)
		s.stats.offline.Add(1)
		if hook := s.opts.Trace.Offline; hook != nil {
			hook(ctx, OfflineEvent{Err: err})
		}
		if !warned {
			s.opts.Logger.WarnContext(ctx, "rediscache: invalidations are not received for now", "error", err)
			warned = true
		}
		sh.mu.Lock()
		since := time.Since(sh.contact)
		sh.mu.Unlock()
		if !shortened && since > s.opts.OfflineLimit/2 {
			shortened = true
			s.memory.Shorten(0, max(s.opts.OfflineLimit-since, s.opts.OfflineLimit/10))
		}
		pause(ctx, 100*time.Millisecond)
	}
	return nil
}

// set records whether a stream is read, and informs the memory whether all streams are
// read.
func (sh *shard) set(online bool) {
	sh.mu.Lock()
	changed := sh.online != online
	sh.online = online
	sh.mu.Unlock()
	if changed {
		sh.log.setOnline()
	}
}

func (l *invalidationLog) setOnline() {
	l.s.ways.Lock()
	defer l.s.ways.Unlock()
	online := true
	for _, sh := range l.shards {
		sh.mu.Lock()
		online = online && sh.online
		sh.mu.Unlock()
	}
	l.s.stats.online.Store(online)
	l.s.hearing()
}

// hearing sets the age limit of values in memory. The limit depends on whether all
// configured sources of invalidations work. It needs the lock of ways.
func (s *Store) hearing() {
	online := s.stats.online.Load()
	limit := s.opts.OfflineLimit
	if online && (s.stats.tracking.Load() || !s.opts.Tracking) {
		limit = s.opts.LocalLimit
	}
	s.memory.SetOnline(online, limit)
}

// read waits for new entries once and applies them.
func (sh *shard) read(ctx context.Context) error {
	s := sh.log.s
	sh.mu.Lock()
	last, due := sh.last, !sh.online || time.Since(sh.checked) > checkEvery
	sh.mu.Unlock()
	if due {
		if err := sh.check(ctx); err != nil {
			return err
		}
		sh.mu.Lock()
		last = sh.last
		sh.mu.Unlock()
	}
	entries, err := sh.entries(ctx, last)
	if err != nil {
		return err
	}
	sh.apply(entries, true)
	if len(entries) > 0 {
		pause(ctx, readPause)
	}
	s.stats.batches.Add(uint64(len(entries)))
	return nil
}

// entries waits for the entries after an id.
func (sh *shard) entries(ctx context.Context, last string) ([]redis.XMessage, error) {
	s := sh.log.s
	streams, err := call(ctx, s, readBlock+readSlack, func(ctx context.Context) ([]redis.XStream, error) {
		return s.client.XRead(ctx, sh.after(last, readBlock)).Result()
	})
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	if err != nil || len(streams) == 0 {
		return nil, wrap(err)
	}
	return streams[0].Messages, nil
}

// after is the command that reads the entries after an id. A negative block means no wait.
func (sh *shard) after(last string, block time.Duration) *redis.XReadArgs {
	return &redis.XReadArgs{Streams: []string{sh.key, last}, Count: readCount, Block: block}
}

// catchUp applies every entry that is in the stream now. It reports whether the anchor is
// still in the stream: otherwise entries were lost. advance moves this process's position.
func (sh *shard) catchUp(ctx context.Context, advance bool) (complete bool, err error) {
	s := sh.log.s
	sh.mu.Lock()
	last, anchor := sh.last, sh.anchor
	sh.mu.Unlock()
	for {
		p, err := call(ctx, s, s.opts.Timeout, func(ctx context.Context) (page, error) { return sh.page(ctx, last, anchor) })
		if err != nil {
			return false, wrap(err)
		}
		sh.apply(p.entries, advance)
		if len(p.entries) < readCount || !p.complete {
			return p.complete, nil
		}
		last = p.entries[len(p.entries)-1].ID
	}
}

// page is the result of one read of a stream.
type page struct {
	entries  []redis.XMessage
	complete bool // the stream has the anchor
}

// page reads entries after an id, and then looks for the anchor. A stream loses its oldest
// entries first. So if it has the anchor, the read missed no entry.
func (sh *shard) page(ctx context.Context, last, anchor string) (out page, err error) {
	var read *redis.XStreamSliceCmd
	var found *redis.XMessageSliceCmd
	_, _ = sh.log.s.client.Pipelined(ctx, func(p redis.Pipeliner) error { // each command has its error
		read, found = p.XRead(ctx, sh.after(last, -1)), p.XRangeN(ctx, sh.key, anchor, anchor, 1)
		return nil
	})
	if err := read.Err(); err != nil && !errors.Is(err, redis.Nil) {
		return page{}, err
	}
	if streams := read.Val(); len(streams) > 0 {
		out.entries = streams[0].Messages
	}
	out.complete = len(found.Val()) == 1
	return out, found.Err()
}

// check makes sure that the stream exists with all entries since the last check. Otherwise
// the process starts at the end of the stream and drops its memory.
func (sh *shard) check(ctx context.Context) error {
	s := sh.log.s
	sh.mu.Lock()
	anchor := sh.anchor
	sh.mu.Unlock()
	if anchor != "" {
		complete, err := sh.catchUp(ctx, true) // all missing entries, before the memory is trusted again
		if err != nil && !foreign(err) {
			return err
		}
		if complete {
			if _, err := call(ctx, s, s.opts.Timeout, func(ctx context.Context) (bool, error) {
				return s.client.PExpire(ctx, sh.key, logLife).Result()
			}); err != nil {
				return wrap(err)
			}
			sh.mu.Lock()
			sh.anchor, sh.checked, sh.contact = sh.last, time.Now(), time.Now()
			sh.mu.Unlock()
			sh.set(true)
			return nil
		}
	}
	id, err := call(ctx, s, s.opts.Timeout, func(ctx context.Context) (string, error) {
		return helloScript.Run(ctx, s.client, []string{sh.key}, sh.log.writer, s.opts.LogLength, logLife.Milliseconds()).Text()
	})
	if err != nil {
		return wrap(err)
	}
	// Before the new anchor is visible: with it, a Sync of a load that began earlier succeeds.
	s.memory.InvalidateAll(s.opts.OfflineLimit / 2)
	sh.mu.Lock()
	sh.last, sh.anchor, sh.checked, sh.contact = id, id, time.Now(), time.Now()
	sh.mu.Unlock()
	if anchor == "" {
		s.opts.Logger.InfoContext(ctx, "rediscache: invalidations are received", "log", sh.key)
	} else {
		s.stats.gaps.Add(1)
		s.opts.Logger.WarnContext(ctx, "rediscache: the invalidation log does not reach back to this process; its memory is dropped", "log", sh.key)
		if hook := s.opts.Trace.Gap; hook != nil {
			hook(ctx, GapEvent{Log: sh.key})
		}
	}
	sh.set(true)
	return nil
}

func (sh *shard) isOnline() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.online
}

// apply applies entries. advance moves this process's position behind them.
func (sh *shard) apply(entries []redis.XMessage, advance bool) {
	s := sh.log.s
	for _, entry := range entries {
		for writer, value := range entry.Values {
			text, _ := value.(string)
			s.apply(writer == sh.log.writer, message(text))
		}
	}
	if !advance {
		return
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.contact = time.Now()
	if len(entries) > 0 {
		sh.last = entries[len(entries)-1].ID
	}
}

// sync applies every message that was appended before. It fails if a message may be missing.
func (l *invalidationLog) sync(ctx context.Context) error {
	for _, sh := range l.shards {
		if !sh.isOnline() {
			return errors.New("rediscache: invalidations are not received now; Run must run for values with tags of SetTags")
		}
		complete, err := sh.catchUp(ctx, false)
		switch {
		case err != nil:
			return err
		case !complete:
			return fmt.Errorf("rediscache: the invalidation log %q does not reach back to this process", sh.key)
		case !sh.isOnline():
			return errors.New("rediscache: invalidations are not received now")
		}
	}
	return nil
}
