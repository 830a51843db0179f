package ratelimit

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Buckets by their definition: whatever lies in a bucket counts until the youngest use that
// could be in it has left the window.
func TestBucketsAreThoseOfTheDefinition(t *testing.T) {
	t.Parallel()
	type booking struct {
		bucket int64
		cost   int
	}
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		a, e := newBuckets(time.Second), bucketLog{}
		var booked []booking
		now := int64(1)
		for step := range 2000 {
			switch rnd.IntN(20) {
			case 0:
				now += rnd.Int64N(int64(2 * time.Second))
			case 1, 2, 3:
				now += rnd.Int64N(a.width)
			case 4, 5:
				now += rnd.Int64N(10 * a.width)
			}
			var counts []booking
			used := 0
			for _, b := range booked {
				if (b.bucket+bucketCells)*a.width > now && b.cost > 0 {
					counts, used = append(counts, b), used+b.cost
				}
			}
			booked = counts
			if n := len(booked); n > 0 && rnd.IntN(10) == 0 {
				i := rnd.IntN(n)
				a.cancel(&e, now, 0, booked[i].cost, booked[i].bucket)
				booked[i].cost = 0
				continue
			}
			limit, cost, book := 1+rnd.IntN(30), 1+rnd.IntN(4), rnd.IntN(3) > 0
			if cost > limit {
				cost = limit
			}
			want := outcome{allowed: used+cost <= limit, limit: limit, used: used}
			if left := used + cost - limit; left > 0 {
				for _, b := range booked {
					if left -= b.cost; left <= 0 {
						want.retry = a.leaves(b.bucket, now)
						break
					}
				}
			} else if book {
				booked = append(booked, booking{now / a.width, cost})
				want.used, want.token = used+cost, now/a.width
			}
			if n := len(booked); n > 0 {
				want.next, want.reset = a.leaves(booked[0].bucket, now), a.leaves(booked[n-1].bucket, now)
			}
			require.Equal(t, want, a.take(&e, now, limit, cost, book), "seed %d, step %d", seed, step)
			require.Equal(t, !want.allowed || want.used >= limit, e.blocked)
		}
	}
}
