package health

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTrackerConfirms(t *testing.T) {
	words := map[rune]Status{'p': Pass, 'w': Warn, 'f': Fail, '?': Unknown}
	for name, c := range map[string]struct{ raw, confirmed string }{
		"first pass is believed":                  {"p", "p"},
		"a failure from the start is not":         {"ffff", "??ff"},
		"one blip moves nothing":                  {"ppfppffpp", "ppppppppp"},
		"three in a row":                          {"pfffp", "pppff"},
		"two passes recover":                      {"fffpp", "??ffp"},
		"at least this bad: the mildest of three": {"pfwff", "pppww"},
		"then worse after three of the worst":     {"pfwfff", "pppwwf"},
		"warn confirms alone":                     {"pwww", "pppw"},
		"fail improves to warn":                   {"fffww", "??ffw"},
		"fail improves past a mixed pair":         {"fffwpp", "??ffwp"},
		"pass and fail in turn confirm nothing":   {"pfpfpfpfpf", "pppppppppp"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := tracker{failAfter: 3, recoverAfter: 2}
			now := time.Unix(1e9, 0)
			got := ""
			for _, r := range c.raw {
				now = now.Add(time.Minute)
				before := tr.confirmed
				step := tr.record(now, words[r], false)
				require.Equal(t, before != tr.confirmed, step.confirmed)
				if step.confirmed {
					require.Equal(t, now, tr.since)
				}
				for letter, s := range words {
					if s == tr.confirmed {
						got += string(letter)
					}
				}
			}
			require.Equal(t, c.confirmed, got)
		})
	}
}

func TestTrackerFlaps(t *testing.T) {
	tr := tracker{failAfter: 3, recoverAfter: 2}
	now := time.Unix(1e9, 0)
	starts, stops := 0, 0
	tick := func(s Status) {
		step := tr.record(now, s, false)
		if step.flapStart {
			starts++
		}
		if step.flapStop {
			stops++
		}
		now = now.Add(time.Minute)
	}
	for i := range 60 { // a change every 4 minutes
		tick([]Status{Pass, Fail}[i/4%2])
		require.Equal(t, i >= 24, tr.flapping, "minute %d: the sixth change makes it flap", i)
	}
	for range 30 { // the last change, and 29 minutes after it
		tick(Fail)
	}
	require.True(t, tr.flapping)
	tick(Fail)
	require.False(t, tr.flapping)
	require.Equal(t, []int{1, 1}, []int{starts, stops})

	slow := tracker{failAfter: 3, recoverAfter: 2}
	for i := range 48 { // a change every half hour is no flapping
		slow.record(now.Add(time.Duration(i)*30*time.Minute), []Status{Pass, Fail}[i%2], false)
		require.False(t, slow.flapping)
	}
}

// Whatever the results are: the confirmed state is never worse than any of the
// last failAfter results when it gets worse, nor better than any of the last
// recoverAfter when it gets better.
func FuzzTracker(f *testing.F) {
	f.Add([]byte("pfwfffpp"), byte(3), byte(2))
	f.Add([]byte{0, 1, 2, 2, 2, 1, 0, 0}, byte(1), byte(1))
	f.Fuzz(func(t *testing.T, raw []byte, failAfter, recoverAfter byte) {
		n, m := int(failAfter%5)+1, int(recoverAfter%5)+1
		tr := tracker{failAfter: n, recoverAfter: m}
		var seen []Status
		now := time.Unix(1e9, 0)
		for _, b := range raw {
			s := Status(b%3) + Pass
			seen = append(seen, s)
			before := tr.confirmed
			tr.record(now, s, false)
			now = now.Add(time.Duration(b) * time.Second)
			last := func(k int) []Status { return seen[max(0, len(seen)-k):] }
			switch {
			case tr.confirmed > before && before != Unknown, tr.confirmed > Pass && before == Unknown:
				require.GreaterOrEqual(t, len(seen), n)
				for _, x := range last(n) {
					require.GreaterOrEqual(t, x, tr.confirmed)
				}
			case tr.confirmed < before:
				for _, x := range last(m) {
					require.LessOrEqual(t, x, tr.confirmed)
				}
			}
			require.LessOrEqual(t, len(tr.changed), flapChanges)
		}
	})
}

func TestLimitsHoldALevelUntilItIsClear(t *testing.T) {
	up := Limits{Warn: 80, Fail: 90, Clear: 2}
	for _, c := range []struct {
		value      float64
		prev, want Status
	}{
		{79.9, Unknown, Pass},
		{80, Unknown, Warn},
		{90, Pass, Fail},
		{88.5, Fail, Fail},
		{88.5, Warn, Warn},
		{88, Fail, Warn},
		{78.5, Warn, Warn},
		{78.5, Pass, Pass},
		{78, Warn, Pass},
		{math.NaN(), Pass, Fail},
		{math.Inf(1), Pass, Fail},
	} {
		require.Equal(t, c.want, up.Grade(c.value, c.prev), "%v after %v", c.value, c.prev)
	}
	down := Limits{Warn: 5, Fail: 1, Below: true, Clear: 1}
	for _, c := range []struct {
		value      float64
		prev, want Status
	}{
		{5.1, Unknown, Pass},
		{5, Unknown, Warn},
		{1, Warn, Fail},
		{1.5, Fail, Fail},
		{2, Fail, Warn},
		{5.5, Warn, Warn},
		{6, Warn, Pass},
	} {
		require.Equal(t, c.want, down.Grade(c.value, c.prev), "%v after %v, below", c.value, c.prev)
	}
	require.Equal(t, Pass, Limits{Fail: 10}.Grade(9, Fail), "no Clear: left at once")
	require.Equal(t, Pass, Limits{}.Grade(1e9, Fail))
}

func TestHysteresisWorksThroughTheRegistry(t *testing.T) {
	values := []float64{79, 81, 79, 77, 91, 89, 87}
	i := -1
	r := newRegistry(t, nil, Check{
		Name: "disk", Timeout: time.Second,
		Checker: CheckerFunc(func(context.Context) Result {
			i++
			return Result{Observed: []Measurement{{Name: "utilization", Value: values[i], Limits: Limits{Warn: 80, Fail: 90, Clear: 2}}}}
		}),
	})
	for _, want := range []Status{Pass, Warn, Warn, Pass, Fail, Fail, Warn} {
		snap, err := r.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, snap.Checks[0].Status, "%v", values[i])
	}
}

func TestHistoryKeepsADay(t *testing.T) {
	var h history
	begin := time.Unix(1e9, 0).Truncate(cellTime)
	for m := range 24 * 60 {
		s := Pass
		switch {
		case m >= 600 && m < 614, m >= 1200 && m < 1227:
			s = Fail
		case m >= 90 && m < 92:
			s = Warn
		}
		h.record(begin.Add(time.Duration(m)*time.Minute), s)
	}
	now := begin.Add(24*time.Hour - time.Minute)
	strip := h.strip(now)
	for i, s := range strip {
		switch i {
		case 3:
			require.Equal(t, Warn, s)
		case 20, 40:
			require.Equal(t, Fail, s)
		default:
			require.Equal(t, Pass, s, "cell %d", i)
		}
	}
	count, down := h.outages(now)
	require.Equal(t, 2, count)
	require.Equal(t, 41*time.Minute, down)

	// An outage that goes on lasts until now, however rarely the check runs.
	open := h
	open.record(now.Add(time.Minute), Fail)
	count, down = open.outages(now.Add(50 * time.Minute))
	require.Equal(t, 3, count)
	require.Equal(t, 90*time.Minute, down)
	_, down = open.outages(now.Add(100 * time.Hour))
	require.Equal(t, 24*time.Hour, down)

	later := now.Add(12 * time.Hour)
	require.Equal(t, Unknown, h.strip(later)[47], "what was not seen is not drawn as healthy")
	count, _ = h.outages(later)
	require.Equal(t, 1, count)
	require.Equal(t, [cells]Status{}, h.strip(now.Add(1000*time.Hour)))

	h.record(begin, Fail) // a clock that was set back
	require.Equal(t, Fail, h.strip(now)[47])
	h.record(now.Add(10*365*24*time.Hour), Pass)
	require.Equal(t, Pass, h.strip(now.Add(10 * 365 * 24 * time.Hour))[47])
	require.Equal(t, Unknown, h.strip(now.Add(10 * 365 * 24 * time.Hour))[46])
}

// Every measurement counts, and the worst 32 are shown. A long name keeps its own level.
func TestManyMeasurements(t *testing.T) {
	t.Parallel()
	disk := func(i int) string { return fmt.Sprintf("/%s/disk%d", strings.Repeat("x", 100), i) }
	bad := map[int]float64{}
	r := newRegistry(t, nil, Check{Name: "disks", Timeout: time.Second, Checker: CheckerFunc(func(context.Context) Result {
		res := Result{Summary: "40 disks"}
		for i := range 40 {
			res.Observed = append(res.Observed, Measurement{Name: "used", Component: disk(i), Value: bad[i], Limits: Limits{Warn: 80, Fail: 90, Clear: 5}})
		}
		return res
	})})
	run := func() CheckState {
		snap, err := r.RunOnce(t.Context())
		require.NoError(t, err)
		return snap.Checks[0]
	}
	require.Equal(t, Pass, run().Status)
	bad[35], bad[38], bad[3] = 100, 85, 85
	c := run()
	require.Equal(t, Fail, c.Status)
	require.Equal(t, "40 disks; and 8 more measurements, none of them worse", c.Output)
	require.Len(t, c.Observed, 32)
	require.Equal(t, Warn, c.Observed[3].Status)
	require.InDelta(t, 100, c.Observed[30].Value, 0)
	require.InDelta(t, 85, c.Observed[31].Value, 0)
	bad[35], bad[36] = 86, 86 // within Clear for the one, and not yet bad for the other
	c = run()
	require.Equal(t, Fail, c.Status)
	require.Equal(t, []Status{Fail, Warn, Warn}, []Status{c.Observed[29].Status, c.Observed[30].Status, c.Observed[31].Status})
}
