package rediscache

import (
	"encoding/binary"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// The kinds of events.
const (
	opKey  = 'k' // a key was written
	opTag  = 't' // a tag was, or is about to be, invalidated
	opWake = 'w' // a load ended: its waiters may read the value
	opAll  = 'a' // anything may have been written

	eventSize = 9
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
