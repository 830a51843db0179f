package hostcheck

import "time"

const (
	trendWindow = 6 * time.Hour
	trendStep   = 5 * time.Minute // samples closer together are not kept
	trendMin    = 3 * time.Hour   // before that a trend is a guess
)

// trend estimates how fast a number grows over hours. The number must grow in both
// halves of the time: a dump that was written once is no trend.
type trend struct {
	At    []time.Time `json:"at,omitempty"`
	Value []float64   `json:"value,omitempty"`
}

func (t *trend) add(now time.Time, v float64) {
	if n := len(t.At); n > 0 {
		if now.Before(t.At[n-1]) { // a clock that was set back
			t.At, t.Value = nil, nil
		} else if now.Sub(t.At[n-1]) < trendStep {
			return
		}
	}
	t.At, t.Value = append(t.At, now), append(t.Value, v)
	old := 0
	for now.Sub(t.At[old]) > trendWindow {
		old++
	}
	t.At, t.Value = t.At[old:], t.Value[old:]
}

// slope returns the growth per second: the slowest of the two halves and of the
// whole.
func (t *trend) slope() (float64, bool) {
	n := len(t.At)
	if n < 4 || t.At[n-1].Sub(t.At[0]) < trendMin {
		return 0, false
	}
	middle := t.At[0].Add(t.At[n-1].Sub(t.At[0]) / 2)
	half := 1
	for half < n-2 && t.At[half].Before(middle) {
		half++
	}
	return min(t.between(0, n-1), t.between(0, half), t.between(half, n-1)), true
}

// between is the slope by least squares of the samples i to j.
func (t *trend) between(i, j int) float64 {
	var meanX, meanY float64
	for k := i; k <= j; k++ {
		meanX += t.At[k].Sub(t.At[i]).Seconds()
		meanY += t.Value[k]
	}
	n := float64(j - i + 1)
	meanX, meanY = meanX/n, meanY/n
	var cov, variance float64
	for k := i; k <= j; k++ {
		dx := t.At[k].Sub(t.At[i]).Seconds() - meanX
		cov += dx * (t.Value[k] - meanY)
		variance += dx * dx
	}
	if variance == 0 {
		return 0
	}
	return cov / variance
}
