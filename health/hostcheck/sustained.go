package hostcheck

import (
	"encoding/json"
	"sync"
	"time"
)

// sustained records a number over time, so that a check warns of a lasting value and
// not of a peak.
type sustained struct {
	At     []time.Time `json:"at,omitempty"`
	Values []float64   `json:"values,omitempty"`
}

// sampleStep is the smallest distance between two samples that are kept.
const sampleStep = 10 * time.Second

// add records a value, and returns the smallest value in the last window. covered is
// true if the samples span the whole window.
func (s *sustained) add(now time.Time, value float64, window time.Duration) (least float64, covered bool) {
	if n := len(s.At); n > 0 && now.Before(s.At[n-1]) { // the clock was set back
		s.At, s.Values = nil, nil
	}
	if n := len(s.At); n > 1 && now.Sub(s.At[n-2]) < sampleStep {
		s.At[n-1], s.Values[n-1] = now, min(value, s.Values[n-1])
	} else {
		s.At, s.Values = append(s.At, now), append(s.Values, value)
	}
	// One sample from before the window is kept, so that the window is covered.
	old := 0
	for old+1 < len(s.At) && now.Sub(s.At[old+1]) >= window {
		old++
	}
	s.At, s.Values = s.At[old:], s.Values[old:]
	least = value
	for _, v := range s.Values {
		least = min(least, v)
	}
	return least, now.Sub(s.At[0]) >= window*9/10
}

// remembered is the state of a check between two runs of a command. It implements the
// optional methods of health.Checker.
type remembered[T any] struct {
	mu    sync.Mutex
	state T
}

// Remember returns the state of the check.
func (r *remembered[T]) Remember() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return json.Marshal(r.state)
}

// Recall restores the state that Remember returned in an earlier process.
func (r *remembered[T]) Recall(state []byte) error {
	var s T
	if err := json.Unmarshal(state, &s); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = s
	return nil
}
