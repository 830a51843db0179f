package rediscache

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// target is a key or tag.
type target struct {
	name string
	tag  bool
}

// pending holds writes that a node did not receive: the keys and tags whose state in Redis
// is old. Each operation on such a key deletes the key first. An outage therefore affects
// only the keys that were written during it. Loads are not recorded here.
type pending struct {
	max    int
	count  atomic.Int64
	mu     sync.Mutex
	writes map[target]uint64
	seq    uint64
}

// note records a write and reports whether there was room. It may make room: the tag of a
// cache then replaces the keys of that cache.
func (p *pending) note(t target) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.count.Store(int64(len(p.writes))) }()
	p.seq++
	name, _, _ := strings.Cut(t.name, ":")
	whole := target{"all:" + name, true}
	if _, cleared := p.writes[whole]; cleared && !t.tag {
		t = whole
	}
	if _, known := p.writes[t]; !known && len(p.writes) >= p.max {
		if t.tag {
			return false
		}
		for other := range p.writes {
			if !other.tag && strings.HasPrefix(other.name, name+":") {
				delete(p.writes, other)
			}
		}
		t = whole
	}
	p.writes[t] = p.seq
	return true
}

// get returns the number of a pending write, or 0 if there is none.
func (p *pending) get(t target) uint64 {
	if p.count.Load() == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writes[t]
}

// done removes a write, unless it was recorded again since.
func (p *pending) done(t target, seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seq != 0 && p.writes[t] == seq {
		delete(p.writes, t)
		p.count.Store(int64(len(p.writes)))
	}
}

// some returns up to n pending writes.
func (p *pending) some(n int) (out []driver.Op) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for t := range p.writes {
		if len(out) == n {
			break
		}
		kind := driver.Delete
		if t.tag {
			kind = driver.Invalidate
		}
		out = append(out, driver.Op{Kind: kind, Key: t.name})
	}
	return out
}

// ensured records how long the state of a tag lives in Redis at least, so that most writes
// need not extend it.
type ensured struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// stateLife is how long a state is stored for values with this life.
func stateLife(life time.Duration) time.Duration {
	return life + max(min(life, 30*24*time.Hour), 24*time.Hour)
}

func (e *ensured) covers(tag string, life time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	until, ok := e.until[tag]
	return ok && time.Until(until) >= life
}

func (e *ensured) note(tag string, life time.Duration) {
	const most = 100_000
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.until == nil || len(e.until) >= most {
		e.until = map[string]time.Time{}
	}
	e.until[tag] = time.Now().Add(stateLife(life))
}

func (e *ensured) forget(tag string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.until, tag)
}
