package ratelimit_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

// The attacks, each on a key of its own. w is the window, n the limit.
var attacks = []func(try func(int), until func(time.Duration), n int, w time.Duration){
	// Opens a window, uses it up at its end, and the next one at its beginning.
	func(try func(int), until func(time.Duration), n int, w time.Duration) {
		try(1)
		until(w - w/20)
		try(n)
		until(w + w/50)
		try(n + 1)
	},
	// The same at an edge of the clock's own windows.
	func(try func(int), until func(time.Duration), n int, w time.Duration) {
		now := time.Now()
		edge := now.Truncate(w).Add(2 * w).Sub(now)
		until(edge - w/20)
		try(n + 1)
		until(edge + w/50)
		try(n + 1)
	},
	drip(0), drip(1), drip(2), drip(3), drip(4), drip(5), drip(6), drip(7),
}

// drip takes all at once, in one of eight phases of a window whose edges nobody knows, and
// then each unit as it appears.
func drip(phase int) func(try func(int), until func(time.Duration), n int, w time.Duration) {
	return func(try func(int), until func(time.Duration), n int, w time.Duration) {
		begin := w + time.Duration(phase)*w/8
		until(begin)
		try(n + 1)
		for i := range 75 {
			until(begin + time.Duration(i+1)*w/50)
			try(max(1, n/25))
		}
	}
}

// BenchmarkMostAdmitted is no race: it reports how much of "n in a window" an attacker
// gets in the worst window (most), and how much of a second burst is served to a client
// that has waited for a whole window after its first (second, 1 = all of it). Windows
// are MAINSTAY_BENCH_WINDOW long, by default 500ms: long ones hide the machine's noise.
func BenchmarkMostAdmitted(b *testing.B) {
	window := 500 * time.Millisecond
	if s := os.Getenv("MAINSTAY_BENCH_WINDOW"); s != "" {
		window = must[time.Duration](b)(time.ParseDuration(s))
	}
	for _, n := range []int{5, 30, 100, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			most, second := make([]int, len(subjects)), make([]float64, len(subjects))
			for b.Loop() {
				var all sync.WaitGroup
				for i, s := range subjects {
					limit := s.build(b, n, window, 10)
					var mu sync.Mutex
					for a, attack := range attacks {
						all.Go(func() {
							got := ratelimittest.MostInAnyWindow(attacked(limit, fmt.Sprint("attack", a), attack, n, window), window)
							mu.Lock()
							defer mu.Unlock()
							most[i] = max(most[i], got)
						})
					}
					all.Go(func() { second[i] = secondBurst(limit, n, window) })
				}
				all.Wait()
			}
			b.ReportMetric(0, "ns/op")
			for i, s := range subjects {
				name := strings.ReplaceAll(s.name, " ", "-")
				b.ReportMetric(float64(most[i]), name+"-most")
				b.ReportMetric(second[i], name+"-second")
				if strings.HasPrefix(name, "mainstay-") && name != "mainstay-GCRA" && most[i] > n {
					b.Errorf("%s let %d through", name, most[i])
				}
			}
		})
	}
}

func attacked(limit take, key string, attack func(func(int), func(time.Duration), int, time.Duration), n int, w time.Duration) (admitted []ratelimittest.Admission) {
	start := time.Now()
	attack(func(tries int) {
		for range tries {
			asked := time.Now()
			if limit(key) {
				admitted = append(admitted, ratelimittest.Admission{Asked: asked, Answered: time.Now()})
			}
		}
	}, func(at time.Duration) { time.Sleep(at - time.Since(start)) }, n, w)
	return admitted
}

// secondBurst uses the limit up, waits for a window and a little, and counts what of the
// same again is served.
func secondBurst(limit take, n int, w time.Duration) float64 {
	for range n {
		limit("patient")
	}
	time.Sleep(w + w/50)
	served := 0
	for range n {
		if limit("patient") {
			served++
		}
	}
	return float64(served) / float64(n)
}
