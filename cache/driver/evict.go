package driver

// sweepSome removes expired entries among the next slots of the table. They are then
// removed before their room is needed.
func (m *Memory) sweepSome() {
	t := m.table.Load()
	for range 4 {
		m.sweep = (m.sweep + 1) & int(t.mask) //nolint:gosec // a power of two
		if e := t.slots[m.sweep].Load(); e != nil && e != removed && m.Now() >= e.goneAt.Load() {
			m.evicted.Expired++
			m.drop(e)
		}
	}
}

// evict makes room by S3-FIFO.
func (m *Memory) evict() {
	if m.small.tail != nil && (m.small.bytes > m.max/10 || m.main.tail == nil) {
		e := m.small.tail
		if e.reads.Load() > 1 {
			m.small.remove(e)
			e.reads.Store(inMain)
			m.main.push(e)
			return
		}
		m.remember(e.Hash)
		m.evicted.Evicted++
		m.drop(e)
		return
	}
	e := m.main.tail
	if r := e.reads.Load(); r > inMain {
		m.main.remove(e)
		e.reads.Store(r - 1)
		m.main.push(e)
		return
	}
	m.evicted.Evicted++
	m.drop(e)
}

// remember records the hash of an entry that was evicted before it was read again.
func (m *Memory) remember(hash uint64) {
	if len(m.ghostAge) > max(64, m.table.Load().live) {
		half := len(m.ghostAge) / 2
		for _, h := range m.ghostAge[:half] {
			delete(m.ghosts, h)
		}
		m.ghostAge = append(m.ghostAge[:0], m.ghostAge[half:]...)
	}
	m.ghosts[hash] = struct{}{}
	m.ghostAge = append(m.ghostAge, hash)
}

// fifo is a queue of entries, newest first.
type fifo struct {
	head, tail *Entry
	bytes      int64
}

func (q *fifo) push(e *Entry) {
	e.prev, e.next = nil, q.head
	if q.head != nil {
		q.head.prev = e
	} else {
		q.tail = e
	}
	q.head = e
	q.bytes += int64(e.weight)
}

func (q *fifo) remove(e *Entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		q.head = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		q.tail = e.prev
	}
	e.prev, e.next = nil, nil
	q.bytes -= int64(e.weight)
}
