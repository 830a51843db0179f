package rediscache

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// The invalidation log is a capped Redis stream, or several on a Cluster. Each round trip
// with writes appends one entry with the hashes of the written names. Each process reads
// the stream from its last position. A lost connection therefore loses no entry, and a
// failed write leaves no gap. The stream exists only if a process reads it: without a
// reader, XADD with NOMKSTREAM has no effect. An entry has one field, whose name is the
// writer.

const (
	opKey  = 'k' // a key was written
	opTag  = 't' // a tag was, or is about to be, invalidated
	opWake = 'w' // a load ended: its waiters may read the value
	opAll  = 'a' // anything may have been written

	eventSize  = 9
	readBlock  = 500 * time.Millisecond
	readSlack  = 500 * time.Millisecond
	checkEvery = time.Second
	// logLife is how long the stream exists after its last read.
	logLife = time.Minute
	// readPause is the time between two reads of a busy log. The work of a process then
	// does not grow with the number of writers.
	readPause = 2 * time.Millisecond
	// clusterShards is the number of streams on a Cluster, which divide the load between
	// nodes.
	clusterShards = 6
	// maxUnsent is the limit in bytes for messages that wait for the node of the log.
	maxUnsent = 1 << 20
)

// message is a list of events of nine bytes: the kind and a hash.
type message []byte

func (m message) event(kind byte, hash uint64) message {
	return binary.BigEndian.AppendUint64(append(m, kind), hash)
}

// has reports whether the message has an event.
func (m message) has(kind byte, hash uint64) bool {
	for ; len(m) >= eventSize; m = m[eventSize:] {
		if m[0] == kind && binary.BigEndian.Uint64(m[1:eventSize]) == hash {
			return true
		}
	}
	return false
}

func (m message) wake(key string) message { return m.event(opWake, driver.KeyHash(key)) }

func (m message) add(op *driver.Op) message {
	if op.Kind == driver.Invalidate {
		return m.event(opTag, driver.TagHash(op.Key))
	}
	return m.event(opKey, driver.KeyHash(op.Key))
}

// tagMessage announces the tags that ops invalidate, also for pending writes. A load that
// reports such a tag at its end either receives the announcement, or stores a state that
// the invalidation ends.
func (s *Store) tagMessage(ops []driver.Op) (m message) {
	for i := range ops {
		if op := &ops[i]; op.Err == nil && (op.Kind == driver.Invalidate || s.pendingTag(op)) {
			m = m.event(opTag, driver.TagHash(op.Key))
		}
	}
	return m
}

// pendingTag reports whether op invalidates its tag first, since an earlier invalidation is
// pending.
func (s *Store) pendingTag(op *driver.Op) bool {
	return op.Kind == driver.TagState && s.pending.get(target{op.Key, true}) != 0
}

type invalidationLog struct {
	s      *Store
	writer string
	shards []*shard
	once   sync.Once // for the warning that writing is not allowed
}

// shard is one stream, with this process's position in it.
type shard struct {
	log *invalidationLog
	key string

	mu      sync.Mutex
	last    string // the id up to which this process has applied the stream, "" before
	anchor  string // an id that must exist: otherwise entries were lost
	checked time.Time
	contact time.Time
	online  bool

	sending sync.Mutex // held by the goroutine that sends unsent
	out     sync.Mutex
	unsent  message
	sent    *delivery // of the present unsent messages
}

// delivery is an attempt to append messages.
type delivery struct {
	over chan struct{} // closed at the end
	err  error         // then: nil, or why the messages are not in the log yet
}

func newDelivery() *delivery { return &delivery{over: make(chan struct{})} }

func (d *delivery) end(err error) {
	d.err = err
	close(d.over)
}

func newLog(s *Store) *invalidationLog {
	l := &invalidationLog{s: s, writer: driver.NewToken()[:10]}
	if s.single {
		l.shards = []*shard{{log: l, key: s.opts.Prefix + "log"}}
		return l
	}
	for i := range clusterShards {
		l.shards = append(l.shards, &shard{log: l, key: s.opts.Prefix + "log:{" + tagIn(i, clusterShards) + "}"})
	}
	return l
}

// tagIn returns a hash tag in the middle of the i-th of n equal ranges of slots.
func tagIn(i, n int) string {
	const slots = 16384
	for k := 0; ; k++ {
		tag := strconv.Itoa(k)
		if slot := int(crc16(tag)) % slots; slot/(slots/n) == i && slot%(slots/n) > slots/n/4 && slot%(slots/n) < slots/n*3/4 {
			return tag
		}
	}
}

// crc16 is the XMODEM variant. Redis Cluster places keys by it.
func crc16(text string) (crc uint16) {
	for i := range len(text) {
		crc ^= uint16(text[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

func (l *invalidationLog) shard(hash uint64) *shard { return l.shards[hash%uint64(len(l.shards))] }

// split distributes events over the shards.
func (l *invalidationLog) split(m message) map[*shard]message {
	out := map[*shard]message{}
	for ; len(m) >= eventSize; m = m[eventSize:] {
		sh := l.shard(binary.BigEndian.Uint64(m[1:eventSize]))
		out[sh] = append(out[sh], m[:eventSize]...)
	}
	return out
}

// report sends the completed writes to all processes, on a Cluster.
func (l *invalidationLog) report(ctx context.Context, ops []driver.Op) {
	var m message
	for i := range ops {
		switch op := &ops[i]; op.Kind { //nolint:exhaustive // the others write no value that is in memory
		case driver.Set, driver.Delete, driver.Expire, driver.Invalidate:
			if op.Key != "" {
				m = m.add(op)
			}
		}
	}
	_ = l.post(ctx, m, true) // it is appended later after an error
}

// later appends a message without waiting for it.
func (l *invalidationLog) later(m message) { _ = l.post(context.Background(), m, false) }

// post appends a message to the shards of its events. An error means that some of it is
// appended later.
func (l *invalidationLog) post(ctx context.Context, m message, wait bool) (err error) {
	if len(m) == 0 {
		return nil
	}
	var all []*delivery
	for sh, part := range l.split(m) {
		all = append(all, sh.post(part))
	}
	for _, sent := range all {
		if !wait {
			break
		}
		select {
		case <-sent.over:
			err = cmp.Or(err, sent.err)
		case <-ctx.Done():
			return cmp.Or(err, ctx.Err())
		}
	}
	return err
}

// post adds events to the next message.
func (sh *shard) post(m message) *delivery {
	sh.out.Lock()
	defer sh.out.Unlock()
	if sh.unsent = append(sh.unsent, m...); len(sh.unsent) > maxUnsent {
		sh.unsent = message(nil).event(opAll, 0)
	}
	if sh.sent == nil {
		sh.sent = newDelivery()
		go sh.flush()
	}
	return sh.sent
}

// flush sends messages until the queue is empty. It keeps the events of a failed send. The
// next message and Run send them again.
func (sh *shard) flush() {
	sh.sending.Lock()
	defer sh.sending.Unlock()
	for {
		sh.out.Lock()
		m, sent := sh.unsent, sh.sent
		sh.unsent, sh.sent = nil, nil
		if len(m) > 0 && sent == nil {
			sent = newDelivery()
		}
		sh.out.Unlock()
		if len(m) == 0 {
			if sent != nil {
				sent.end(nil)
			}
			return
		}
		s := sh.log.s
		_, err := call(context.Background(), s, s.opts.Timeout, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, sh.send(ctx, m)
		})
		if err != nil && (!isReply(err) || passing(err)) {
			sh.out.Lock()
			sh.unsent = append(m, sh.unsent...)
			sh.out.Unlock()
			sent.end(err)
			return
		}
		sh.log.refused(context.Background(), err)
		sent.end(nil)
	}
}

// send appends a message, even if the server is full.
func (sh *shard) send(ctx context.Context, m message) error {
	s := sh.log.s
	err := s.client.XAdd(ctx, sh.add(m)).Err()
	if redis.HasErrorPrefix(err, "OOM") {
		err = appendScript.Run(ctx, s.client, []string{sh.key}, sh.log.writer, []byte(m), s.opts.LogLength).Err()
	}
	if errors.Is(err, redis.Nil) {
		return nil // no process reads the stream
	}
	return err
}

func (sh *shard) add(m message) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: sh.key, NoMkStream: true, MaxLen: sh.log.s.opts.LogLength, Approx: true, Values: []any{sh.log.writer, []byte(m)}}
}

// appended is a message in a round trip.
type appended struct {
	message
	command redis.Cmder
}

func (sh *shard) append(ctx context.Context, p redis.Pipeliner, m message) appended {
	return appended{m, p.XAdd(ctx, sh.add(m))}
}

// appended appends a message that the server did not accept. late means that the message
// therefore comes after the rest of its round trip.
func (l *invalidationLog) appended(ctx context.Context, a appended) (late bool, err error) {
	switch err := a.command.Err(); {
	case err == nil, errors.Is(err, redis.Nil):
	case redis.HasErrorPrefix(err, "OOM"), !isReply(err), passing(err):
		return true, l.post(ctx, a.message, true)
	default:
		l.refused(ctx, err)
	}
	return false, nil
}

// denied reports a lack of rights, for a command or for a command in a script.
func denied(err error) bool {
	text := err.Error()
	return strings.Contains(text, "NOPERM") || strings.Contains(text, "ACL failure") || strings.Contains(text, "can't run this command")
}

// refused logs one warning that the log cannot be written.
func (l *invalidationLog) refused(ctx context.Context, err error) {
	if err == nil || !denied(err) {
		return
	}
	l.once.Do(func() {
		l.s.opts.Logger.WarnContext(ctx, "rediscache: the user may not write the invalidation log; other processes see writes late: allow XADD, XREAD, XRANGE, XTRIM, EVALSHA and EVAL on its keys", "key", l.shards[0].key, "error", err)
	})
}

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
	entries, err := sh.entries(ctx, last, readBlock)
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

// entries returns the entries after an id. It waits for block. A negative block means no
// wait.
func (sh *shard) entries(ctx context.Context, last string, block time.Duration) ([]redis.XMessage, error) {
	s := sh.log.s
	streams, err := call(ctx, s, max(block, 0)+readSlack, func(ctx context.Context) ([]redis.XStream, error) {
		return s.client.XRead(ctx, &redis.XReadArgs{Streams: []string{sh.key, last}, Count: 10_000, Block: block}).Result()
	})
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	if err != nil || len(streams) == 0 {
		return nil, wrap(err)
	}
	return streams[0].Messages, nil
}

// check makes sure that the stream exists with all entries since the last check. Otherwise
// the process starts at the end of the stream and drops its memory.
func (sh *shard) check(ctx context.Context) error {
	s := sh.log.s
	sh.mu.Lock()
	anchor := sh.anchor
	sh.mu.Unlock()
	if anchor != "" {
		found, err := call(ctx, s, s.opts.Timeout, func(ctx context.Context) (int, error) {
			found, err := s.client.XRangeN(ctx, sh.key, anchor, anchor, 1).Result()
			if err == nil && len(found) == 1 {
				err = s.client.PExpire(ctx, sh.key, logLife).Err()
			}
			return len(found), err
		})
		if err != nil {
			return wrap(err)
		}
		if found == 1 {
			if !sh.isOnline() { // read the missing entries before the memory is trusted again
				entries, err := sh.entries(ctx, sh.lastID(), -1)
				if err != nil {
					return err
				}
				sh.apply(entries, true)
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
	sh.mu.Lock()
	sh.last, sh.anchor, sh.checked, sh.contact = id, id, time.Now(), time.Now()
	sh.mu.Unlock()
	spread := s.opts.OfflineLimit / 2
	if anchor == "" {
		s.memory.InvalidateAll(spread)
		s.opts.Logger.InfoContext(ctx, "rediscache: invalidations are received", "log", sh.key)
	} else {
		s.memory.InvalidateAll(spread)
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

func (sh *shard) lastID() string {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.last
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

// apply applies a message. Writes of this process were already applied when they were made.
func (s *Store) apply(own bool, m message) {
	for ; len(m) >= eventSize; m = m[eventSize:] {
		hash := binary.BigEndian.Uint64(m[1:eventSize])
		switch {
		case m[0] == opWake:
			s.memory.Wake(hash)
		case own:
		case m[0] == opKey:
			s.memory.InvalidateKey(hash)
		case m[0] == opTag:
			s.memory.InvalidateTag(hash)
		default:
			s.memory.InvalidateAll(s.opts.OfflineLimit / 2)
		}
		s.stats.events.Add(1)
	}
}

// sync applies every message that was appended before.
func (l *invalidationLog) sync(ctx context.Context) error {
	for _, sh := range l.shards {
		if !sh.isOnline() {
			return errors.New("rediscache: invalidations are not received now; Run must run for values with tags of SetTags")
		}
		entries, err := sh.entries(ctx, sh.lastID(), -1)
		if err != nil {
			return err
		}
		sh.apply(entries, false)
		if !sh.isOnline() {
			return errors.New("rediscache: invalidations are not received now")
		}
	}
	return nil
}
