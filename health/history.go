package health

import "time"

const (
	cells    = 48
	cellTime = 30 * time.Minute
)

// history keeps the worst state of each half hour of the last 24 h.
type history struct {
	worst [cells]Status
	cell  int64 // number, counted from 1970, of the newest cell in use
}

func cellOf(t time.Time) int64 { return t.Unix() / int64(cellTime/time.Second) }

func (h *history) record(now time.Time, s Status) {
	h.advance(cellOf(now))
	i := h.cell % cells
	h.worst[i] = max(h.worst[i], s)
}

// advance clears the cells between the newest one and the given one. A clock
// that was set back writes into the newest cell instead of an old one.
func (h *history) advance(cell int64) {
	for n := 0; h.cell < cell && n < cells; n++ {
		h.cell++
		h.worst[h.cell%cells] = Unknown
	}
	if h.cell < cell {
		h.cell = cell // more than 24 h later: every cell has been cleared
	}
}

// strip returns the cells of the 24 h before now, oldest first.
func (h *history) strip(now time.Time) [cells]Status {
	copied := *h
	copied.advance(cellOf(now))
	var out [cells]Status
	for i := range out {
		out[i] = copied.worst[(copied.cell+1+int64(i))%cells]
	}
	return out
}
