package health

import "time"

const (
	cells    = 48
	cellTime = 30 * time.Minute
)

// history keeps the worst state and the duration of outages for each half hour of the
// last 24 h.
type history struct {
	ring   [cells]cell
	newest int64 // number of the newest cell, counted from 1970
	last   Status
	lastAt time.Time
}

type cell struct {
	worst   Status
	outages int // the number that began in this cell
	down    time.Duration
}

func cellOf(t time.Time) int64 { return t.Unix() / int64(cellTime/time.Second) }

func (h *history) record(now time.Time, s Status) {
	h.advance(cellOf(now))
	c := &h.ring[h.newest%cells]
	c.worst = max(c.worst, s)
	if h.last == Fail {
		c.down += now.Sub(h.lastAt)
	} else if s == Fail {
		c.outages++
	}
	h.last, h.lastAt = s, now
}

// advance clears the cells between the newest one and the given one. After the clock
// was set back, results go into the newest cell and not into an old one.
func (h *history) advance(to int64) {
	for n := 0; h.newest < to && n < cells; n++ {
		h.newest++
		h.ring[h.newest%cells] = cell{}
	}
	if h.newest < to {
		h.newest = to // more than 24 h later: every cell has been cleared
	}
}

// strip returns the worst states of the 24 h before now, oldest first.
func (h *history) strip(now time.Time) [cells]Status {
	copied := *h
	copied.advance(cellOf(now))
	var out [cells]Status
	for i := range out {
		out[i] = copied.ring[(copied.newest+1+int64(i))%cells].worst
	}
	return out
}

// outages returns how many outages began in the 24 h before now and how long
// they lasted together.
func (h *history) outages(now time.Time) (count int, down time.Duration) {
	copied := *h
	copied.advance(cellOf(now))
	for _, c := range copied.ring {
		count += c.outages
		down += c.down
	}
	if h.last == Fail { // an outage that continues; the next result will record it
		down = min(down+max(now.Sub(h.lastAt), 0), cells*cellTime)
	}
	if count == 0 && down > 0 {
		count = 1 // it began earlier
	}
	return count, down
}
