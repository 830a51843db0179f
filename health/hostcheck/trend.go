package hostcheck

import "time"

const (
	trendWindow = time.Hour
	trendStep   = time.Minute      // samples closer together are not kept
	trendMin    = 10 * time.Minute // before that a trend is a guess
)

// trend estimates how fast a number grows, by least squares over the last
// hour: one large file that comes and goes moves it less than it would move
// the difference of two samples.
type trend struct {
	at    []time.Time
	value []float64
}

func (t *trend) add(now time.Time, v float64) {
	if n := len(t.at); n > 0 && now.Sub(t.at[n-1]) < trendStep {
		return
	}
	t.at, t.value = append(t.at, now), append(t.value, v)
	old := 0
	for now.Sub(t.at[old]) > trendWindow {
		old++
	}
	t.at = append(t.at[:0], t.at[old:]...)
	t.value = append(t.value[:0], t.value[old:]...)
}

// slope returns the growth per second.
func (t *trend) slope() (float64, bool) {
	n := len(t.at)
	if n < 3 || t.at[n-1].Sub(t.at[0]) < trendMin {
		return 0, false
	}
	var sumX, sumY float64
	for i := range n {
		sumX += t.at[i].Sub(t.at[0]).Seconds()
		sumY += t.value[i]
	}
	meanX, meanY := sumX/float64(n), sumY/float64(n)
	var cov, variance float64
	for i := range n {
		dx := t.at[i].Sub(t.at[0]).Seconds() - meanX
		cov += dx * (t.value[i] - meanY)
		variance += dx * dx
	}
	return cov / variance, true
}
