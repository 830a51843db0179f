package ratelimittest

import (
	"context"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Admission is one unit that was let through, at some instant between the two.
type Admission struct {
	// Asked is when the request was sent, and Answered when its answer arrived.
	Asked, Answered time.Time
}

// MostInAnyWindow returns the most admissions that surely lie in one half-open
// window: two lie in one if the later was answered less than a window after the
// earlier was sent. The list must be in the order of sending.
func MostInAnyWindow(list []Admission, window time.Duration) int {
	most, from := 0, 0
	for to := range list {
		for list[to].Answered.Sub(list[from].Asked) >= window {
			from++
		}
		most = max(most, to-from+1)
	}
	return most
}

// Adversary tries to get more out of a limiter than its policy allows.
type Adversary struct {
	// Limiter is under attack.
	Limiter ratelimit.Limiter
	// Policy is the policy of the limiter.
	Policy ratelimit.Policy
	// Key is the key that all requests use.
	Key string
	// Sleep lets time pass. Default: time.Sleep.
	Sleep func(time.Duration)
}

// Attack goes on for about eight windows and returns the admitted requests. It sends them
// when the usual limiters are weakest: the edge of a window that
// the first hit opens, the edge of a window aligned to the clock, the drip that a
// token bucket allows after a full burst, and the instant at which a unit is free
// again as the limiter itself says.
func (a Adversary) Attack(t testing.TB) []Admission {
	t.Helper()
	if a.Sleep == nil {
		a.Sleep = time.Sleep
	}
	var admitted []Admission
	try := func(n int) {
		for range n {
			asked := time.Now()
			r, err := a.Limiter.AllowN(context.Background(), a.Key, 1)
			if err != nil {
				t.Fatalf("Allow: %v", err)
			}
			if r.Allowed {
				admitted = append(admitted, Admission{Asked: asked, Answered: time.Now()})
			}
		}
	}
	start, w, n := time.Now(), a.Policy.Window, a.Policy.Limit
	until := func(at time.Duration) {
		if d := at - time.Since(start); d > 0 {
			a.Sleep(d)
		}
	}
	try(1)          // opens a window
	until(w - w/50) // uses it up at its end
	try(n + 1)
	until(w + w/200) // and the next one at its beginning
	try(n + 1)
	for i := 1; i <= 100; i++ { // takes each unit as it appears
		until(w + w/200 + time.Duration(i)*w/50)
		try(min(n, 3))
	}
	aligned := time.Now().Truncate(w).Add(2 * w) // the edge of the clock's own window
	until(aligned.Sub(start) - w/50)
	try(n + 1)
	until(aligned.Sub(start) + w/200)
	try(n + 1)
	for i := 0; i < 2*n && time.Since(start) < 8*w; i++ { // comes when told to, and a little early
		r, err := a.Limiter.AllowN(context.Background(), a.Key, 0)
		if err != nil {
			t.Fatalf("Peek: %v", err)
		}
		if !r.Allowed {
			a.Sleep(r.RetryAfter - min(r.RetryAfter/2, w/1000))
			try(1)
			a.Sleep(w / 1000)
		}
		try(1)
	}
	return admitted
}
