package cache

import (
	"slices"
	"strings"
	"sync"
)

// missed is what a store was not told while it could not be reached: keys and tags of
// which it still has what was there before. There are at most max of them, but for one
// tag for each cache: when there is no more room, the keys of the cache that has the most
// become the tag that its Clear invalidates, and tags become those of all caches.
type missed struct {
	max int

	mu         sync.Mutex
	names      map[string]bool // of the caches whose values bear such a tag
	keys, tags map[string]uint64
	noted      uint64 // counts; an entry has the count at which it was noted last
	overflows  uint64
}

func newMissed(most int) *missed {
	return &missed{max: most, names: map[string]bool{}, keys: map[string]uint64{}, tags: map[string]uint64{}}
}

// bears says that all values of a cache bear the tag of their cache.
func (m *missed) bears(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names[name] = true
}

func (m *missed) size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.keys) + len(m.tags)
}

func (m *missed) overflown() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.overflows
}

// noteKeys reports whether the keys will be made good.
func (m *missed) noteKeys(keys ...string) (ok, overflow bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noted++
	ok = true
	for _, key := range keys {
		name, _, _ := strings.Cut(key, ":")
		whole := clearTag(name)
		_, merged := m.tags[whole]
		if !merged && m.full(m.keys, key) {
			overflow = m.mergeKeys() || overflow
			_, merged = m.tags[whole]
		}
		switch {
		case merged:
			m.tags[whole] = m.noted
		case !m.full(m.keys, key):
			m.keys[key] = m.noted
		case m.names[name]:
			m.tags[whole], overflow = m.noted, true
		default:
			ok = false
		}
	}
	m.count(overflow)
	return ok, overflow
}

// noteTags reports whether the tags will be made good.
func (m *missed) noteTags(tags ...string) (ok, overflow bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noted++
	ok = true
	for _, tag := range tags {
		if m.full(m.tags, tag) {
			overflow = m.mergeKeys() || overflow
		}
		switch {
		case !m.full(m.tags, tag):
			m.tags[tag] = m.noted
		case len(m.names) > 0:
			clear(m.tags)
			m.tags[anyTag] = m.noted
			for name := range m.names {
				m.tags[clearTag(name)] = m.noted
			}
			overflow = true
		default:
			ok = false
		}
	}
	m.count(overflow)
	return ok, overflow
}

func (m *missed) count(overflow bool) {
	if overflow {
		m.overflows++
	}
}

func (m *missed) full(in map[string]uint64, entry string) bool {
	_, known := in[entry]
	return !known && len(m.keys)+len(m.tags) >= m.max
}

// mergeKeys makes the keys of one cache its tag: of that with the most.
func (m *missed) mergeKeys() (some bool) {
	count := map[string]int{}
	most := ""
	for key := range m.keys {
		name, _, _ := strings.Cut(key, ":")
		if count[name]++; m.names[name] && count[name] > count[most] {
			most = name
		}
	}
	if count[most] == 0 {
		return false
	}
	for key := range m.keys {
		if strings.HasPrefix(key, most+":") {
			delete(m.keys, key)
		}
	}
	m.tags[clearTag(most)] = m.noted
	return true
}

// entry is a key or tag with the count at which it was noted.
type entry struct {
	name  string
	noted uint64
}

// all returns what there is; of the tags the one that stands for any comes first.
func (m *missed) all() (keys, tags []entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := func(from map[string]uint64) []entry {
		out := make([]entry, 0, len(from))
		for name, noted := range from {
			out = append(out, entry{name, noted})
		}
		return out
	}
	keys, tags = list(m.keys), list(m.tags)
	if i := slices.IndexFunc(tags, func(e entry) bool { return e.name == anyTag }); i > 0 {
		tags[0], tags[i] = tags[i], tags[0]
	}
	return keys, tags
}

// done forgets entries, but for those that were noted again since.
func (m *missed) done(in map[string]uint64, entries []entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		if in[e.name] == e.noted {
			delete(in, e.name)
		}
	}
}

func names(entries []entry) []string {
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.name
	}
	return out
}
