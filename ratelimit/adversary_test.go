package ratelimit

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// mostInAnyWindow counts the most instants in a half-open window.
func mostInAnyWindow(at []time.Duration, window time.Duration) int {
	most, from := 0, 0
	for to := range at {
		for at[to]-at[from] >= window {
			from++
		}
		most = max(most, to-from+1)
	}
	return most
}

// attack tries as much as it can at the moments at which limiters are weakest, and
// returns when it was let through.
func attack(t *testing.T, l *Memory, p Policy, key string) (admitted []time.Duration) {
	t.Helper()
	start := time.Now()
	try := func(n int) (ok int) {
		for range n {
			r, err := l.Allow(context.Background(), key)
			if err != nil {
				t.Fatal(err)
			}
			if r.Allowed {
				ok++
				admitted = append(admitted, time.Since(start))
			}
		}
		return ok
	}
	until := func(at time.Duration) { time.Sleep(at - time.Since(start)) }
	w := p.Window
	try(1)                  // opens a window that starts with the first hit
	until(w - w/1000)       // and uses it up at its end
	try(2 * p.Limit)        //
	until(w + w/1000)       // then the next one's start
	try(2 * p.Limit)        //
	for i := range 3 * 60 { // drips through three windows, asking for each unit as it appears
		until(w + w/1000 + time.Duration(i+1)*w/60)
		try(p.Limit)
	}
	until(6 * w)
	for range 4 * p.Limit { // asks as soon as it is told to come
		r, _ := l.Peek(context.Background(), key)
		if !r.Allowed {
			time.Sleep(r.RetryAfter)
		}
		try(1)
	}
	return admitted
}

func TestAdversaryGetsTheLimitAndNoMore(t *testing.T) {
	t.Parallel()
	for _, p := range []Policy{Login(), TopUp(), API(), Sale()} {
		for _, algorithm := range []Algorithm{Exact, Buckets, GCRA} {
			p.Algorithm = algorithm
			t.Run(fmt.Sprintf("%s/%v", p.Name, algorithm), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l, err := NewMemory(p, nil)
					if err != nil {
						t.Fatal(err)
					}
					most := mostInAnyWindow(attack(t, l, p, "user:mallory"), p.Window)
					want := p.Limit
					if algorithm == GCRA {
						want = 2*p.Limit - 1
					}
					if algorithm == GCRA && most > want || algorithm != GCRA && most != want {
						t.Errorf("%d let through in one window, want %d", most, want)
					}
				})
			})
		}
	}
}
