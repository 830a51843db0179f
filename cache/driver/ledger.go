package driver

import "sync"

// ledger records which keys and tags were invalidated during reads and loads. A read takes
// a ticket first. It keeps its result only if none of its keys and tags was invalidated
// after the ticket. The record is exact: one entry per key or tag, kept as long as an older
// ticket exists. It also covers tags that become known only after the load.
type ledger struct {
	mu          sync.Mutex
	seq         uint64
	everything  uint64        // the seq of the last invalidation of everything
	generations []*generation // oldest first; the last one is current
	active      int           // tickets of all generations
}

// generation is the record of one period.
type generation struct {
	active  int // tickets that were taken in it
	changed map[uint64]uint64
}

// generationSize is how many invalidations a generation records before the next one begins.
// One long load then does not keep all records of shorter loads.
const generationSize = 4096

// Ticket is a moment in the record of invalidations. The zero value is not usable.
type Ticket struct {
	in  *generation
	seq uint64
}

// begin takes a ticket. The caller must end it.
func (l *ledger) begin() Ticket {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.generations) == 0 {
		l.generations = []*generation{{changed: map[uint64]uint64{}}}
	}
	g := l.generations[len(l.generations)-1]
	g.active++
	l.active++
	return Ticket{g, l.seq}
}

// again takes another ticket of the same moment. t must not have ended.
func (l *ledger) again(t Ticket) Ticket {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.in.active++
	l.active++
	return t
}

func (l *ledger) end(t Ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.in.active--
	l.active--
	n := 0
	for n < len(l.generations)-1 && l.generations[n].active == 0 {
		n++
	}
	l.generations = l.generations[n:]
	if l.active == 0 && len(l.generations[0].changed) > 0 {
		l.generations[0].changed = map[uint64]uint64{}
	}
}

// change records an invalidation.
func (l *ledger) change(hash uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	if l.active == 0 {
		return
	}
	g := l.generations[len(l.generations)-1]
	if len(g.changed) >= generationSize {
		g = &generation{changed: map[uint64]uint64{}}
		l.generations = append(l.generations, g)
	}
	g.changed[hash] = l.seq
}

func (l *ledger) changeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	l.everything = l.seq
}

func (l *ledger) now() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq
}

// after reports whether hash was invalidated after the ticket.
func (l *ledger) after(t Ticket, hash uint64) bool {
	for i := len(l.generations) - 1; i >= 0; i-- {
		g := l.generations[i]
		if at, ok := g.changed[hash]; ok && at > t.seq {
			return true
		}
		if g == t.in {
			break
		}
	}
	return false
}

// valid reports whether all hashes are unchanged since the ticket.
func (l *ledger) valid(t Ticket, hash uint64, more []uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seq == t.seq {
		return true
	}
	if l.everything > t.seq || l.after(t, hash) {
		return false
	}
	for _, h := range more {
		if l.after(t, h) {
			return false
		}
	}
	return true
}
