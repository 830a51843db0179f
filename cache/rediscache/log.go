package rediscache

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
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
	// clusterShards is the number of streams on a Cluster, which divide the load between
	// nodes.
	clusterShards = 6
	// maxUnsent is the limit in bytes for messages that wait for the node of the log.
	maxUnsent = 1 << 20
)

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

// writes returns the message about the writes among ops.
func writes(ops []driver.Op) (m message) {
	for i := range ops {
		switch op := &ops[i]; op.Kind { //nolint:exhaustive // the others write no value that is in memory
		case driver.Set, driver.Delete, driver.Expire, driver.Invalidate:
			if op.Key != "" {
				m = m.add(op)
			}
		}
	}
	return m
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

// flush sends messages until the queue is empty. It keeps the events of a failed send, unless
// the server denies the right to append. The next message and Run send them again.
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
		err := sh.deliver(context.Background(), m)
		if err != nil && !denied(err) {
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

// deliver appends a message, if the breaker of the node of the stream allows it.
func (sh *shard) deliver(ctx context.Context, m message) error {
	s := sh.log.s
	if err := s.nodes.find(ctx); err != nil {
		return err
	}
	n := s.nodes.of(ctx, sh.key)
	if !n.breaker.allow(time.Now()) {
		return driver.ErrUnavailable
	}
	began := time.Now()
	_, err := call(ctx, s, s.opts.Timeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, sh.send(ctx, m)
	})
	n.judge(ctx, err, time.Since(began))
	return err
}

// send appends a message, even if the server is full.
func (sh *shard) send(ctx context.Context, m message) error {
	s := sh.log.s
	err := s.client.XAdd(ctx, sh.add(m)).Err()
	if redis.HasErrorPrefix(err, "OOM") {
		err = appendScript.Run(ctx, s.client, []string{sh.key}, sh.log.writer, []byte(m), s.opts.LogLength).Err()
	}
	if errors.Is(err, redis.Nil) || foreign(err) {
		return nil // no process reads the stream
	}
	return err
}

// foreign reports that the key of the log has another type. Run replaces it.
func foreign(err error) bool { return redis.HasErrorPrefix(err, "WRONGTYPE") }

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
		return false, nil
	case denied(err):
		l.refused(ctx, err)
		return false, nil
	}
	return true, l.post(ctx, a.message, true)
}

// denied reports that the user may not run a command, also in a script. An operator may have
// renamed the command instead.
func denied(err error) bool {
	text := err.Error()
	return redis.HasErrorPrefix(err, "unknown command") || strings.Contains(text, "NOPERM") || strings.Contains(text, "ACL failure") || strings.Contains(text, "can't run this command")
}

// refused counts a message that the log never receives, and logs the first one.
func (l *invalidationLog) refused(ctx context.Context, err error) {
	if err == nil {
		return
	}
	l.s.stats.unannounced.Add(1)
	l.once.Do(func() {
		l.s.opts.Logger.WarnContext(ctx, "rediscache: the user may not write the invalidation log; other processes see writes late: allow XADD, XREAD, XRANGE, XTRIM, EVALSHA and EVAL on its keys", "key", l.shards[0].key, "error", err)
	})
}
