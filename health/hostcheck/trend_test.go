package hostcheck

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// forecast is one simulated disk: how much is used at a time, and how often it is
// measured.
type forecast struct {
	random *rand.Rand
	used   func(at time.Duration) float64 // GiB of 500
	step   time.Duration
}

// warned returns when the check first warns of a disk that will be full, or a
// negative time.
func (f forecast) warned(lasting time.Duration) time.Duration {
	d := Disk("disk", "/", &DiskOptions{WarnPercent: 99.9, FailPercent: 99.9}).Checker.(*diskCheck)
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(f.random.Int64N(int64(24 * time.Hour))))
	for at := time.Duration(0); at < lasting; at += time.Duration((0.9 + 0.2*f.random.Float64()) * float64(f.step)) {
		u := DiskUsage{Total: 500 * gib, Used: uint64(math.Min(f.used(at), 500) * gib)}
		u.Free = u.Total - u.Used
		if left, ok := d.fullIn(start.Add(at), u); ok && left < d.opts.FullWithin && f.used(at) >= 300 {
			return at
		}
	}
	return -1
}

func seeds(n uint64) uint64 {
	if shorter {
		return n / 10
	}
	return n / uint64(testserver.Sample(4, 1))
}

// Growth that ends within 4 hours, or within 3 hours in steps, is never taken for a disk that fills,
// whatever its pace, its begin, its steps and the moments of measurement.
func TestGrowthThatEndsIsNoForecast(t *testing.T) {
	for seed := range seeds(600) {
		random := rand.New(rand.NewPCG(seed, 1))
		begin := time.Duration(random.Int64N(int64(10 * time.Hour)))
		lumps := float64(random.IntN(4) * 3)
		lasting := 239 * time.Minute
		if lumps > 0 { // a pause of up to an hour is part of the growth
			lasting = 3 * time.Hour
		}
		lasts := time.Minute + time.Duration(random.Int64N(int64(lasting)))
		amount, level := 10+random.Float64()*120, 250+random.Float64()*60
		noise := random.Float64() * 2
		f := forecast{random: random, step: []time.Duration{time.Minute, 2 * time.Minute, 10 * time.Minute}[random.IntN(3)]}
		f.used = func(at time.Duration) float64 {
			done := min(max((at-begin).Seconds()/lasts.Seconds(), 0), 1)
			if lumps > 0 { // written in some large files
				done = math.Floor(done*lumps) / lumps
			}
			return level + amount*done + noise*math.Sin(at.Hours()*9)
		}
		require.Negative(t, f.warned(22*time.Hour), "seed %d: %.0f GiB in %v after %v, %v lumps", seed, amount, lasts, begin, lumps)
	}
}

// A dump in each night, a job in each few hours, and logs that are rotated return
// their space.
func TestSpaceThatIsReturnedIsNoForecast(t *testing.T) {
	for seed := range seeds(200) {
		random := rand.New(rand.NewPCG(seed, 2))
		period := time.Duration(1+random.IntN(5)) * time.Hour
		height, level, shift := 5+random.Float64()*60, 300+random.Float64()*60, time.Duration(random.Int64N(int64(period)))
		f := forecast{random: random, step: time.Minute, used: func(at time.Duration) float64 {
			return level + height*((at+shift)%period).Hours()/period.Hours()
		}}
		require.Negative(t, f.warned(24*time.Hour), "seed %d: %.0f GiB in %v", seed, height, period)
	}
}

// A disk that fills within a day is found within 9 hours, also when it is written in lumps, or measured by an hourly command.
func TestFillingDiskIsForecast(t *testing.T) {
	for seed := range seeds(300) {
		random := rand.New(rand.NewPCG(seed, 3))
		begin := time.Duration(random.Int64N(int64(10 * time.Hour)))
		level, pace := 300+random.Float64()*20, 9+random.Float64()*10
		lump := time.Duration(random.IntN(3)) * 20 * time.Minute
		step := []time.Duration{time.Minute, 10 * time.Minute, time.Hour}[random.IntN(3)]
		f := forecast{random: random, step: step, used: func(at time.Duration) float64 {
			grown := max(at-begin, 0)
			if lump > 0 {
				grown = grown.Truncate(lump)
			}
			return level + pace*grown.Hours()
		}}
		at := f.warned(begin + 9*time.Hour)
		require.Positive(t, at, "seed %d: %.1f GiB an hour from %.0f after %v, in lumps of %v, measured each %v", seed, pace, level, begin, lump, step)
		require.Greater(t, at, begin)
	}
}

func TestTrendNeedsItsWindow(t *testing.T) {
	var g trend
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for at := time.Duration(0); at < trendWindow; at += trendStep {
		g.add(start.Add(at), at.Hours())
		_, ok := g.slope()
		require.False(t, ok, "after %v", at)
	}
	g.add(start.Add(trendWindow), 6)
	slope, ok := g.slope()
	require.True(t, ok)
	require.InDelta(t, 1.0/3600, slope, 1e-9)
	g.add(start, 7) // a clock that was set back
	_, ok = g.slope()
	require.False(t, ok)
	for at := time.Duration(0); at < 100*time.Hour; at += time.Second * 100 {
		g.add(start.Add(at), 0)
	}
	require.LessOrEqual(t, len(g.At), 150, "the samples are bounded")
}
