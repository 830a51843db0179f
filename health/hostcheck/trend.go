package hostcheck

import (
	"math"
	"time"
)

const (
	trendWindow = 6 * time.Hour   // the growth must have lasted this long
	trendSpan   = time.Hour       // and must be visible in each span of this length
	trendStep   = 5 * time.Minute // samples closer together are not kept
)

// trend estimates how fast a number grows over hours. The estimate is the growth of the
// slowest span. A dump that is written once, and growth that has ended, contain a span
// without growth.
type trend struct {
	At    []time.Time `json:"at,omitempty"`
	Value []float64   `json:"value,omitempty"`
}

// add records a value. The last sample always has the newest value, so that the end of
// a growth is visible at once.
func (t *trend) add(now time.Time, v float64) {
	if n := len(t.At); n > 0 && now.Before(t.At[n-1]) { // the clock was set back
		t.At, t.Value = nil, nil
	}
	if n := len(t.At); n > 1 && now.Sub(t.At[n-2]) < trendStep {
		t.At[n-1], t.Value[n-1] = now, v
	} else {
		t.At, t.Value = append(t.At, now), append(t.Value, v)
	}
	// One sample from before the window is kept, so that the window is covered.
	old := 0
	for old+1 < len(t.At) && now.Sub(t.At[old+1]) >= trendWindow {
		old++
	}
	t.At, t.Value = t.At[old:], t.Value[old:]
}

// slope returns the growth per second of the slowest span. It returns false
// until the samples cover the window.
func (t *trend) slope() (float64, bool) {
	last := len(t.At) - 1
	if last < 1 || t.At[last].Sub(t.At[0]) < trendWindow {
		return 0, false
	}
	slowest, from := math.Inf(1), 0
	for to := range t.At {
		for from < to && t.At[to].Sub(t.At[from+1]) >= trendSpan {
			from++
		}
		if lasted := t.At[to].Sub(t.At[from]); lasted >= trendSpan {
			slowest = min(slowest, (t.Value[to]-t.Value[from])/lasted.Seconds())
		}
	}
	return slowest, true
}
