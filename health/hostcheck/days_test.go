package hostcheck

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
)

// machine is a simulated host or container. Its functions take the time since its
// start; a nil one is a quiet machine.
type machine struct {
	start, last time.Time
	busy        time.Duration

	cores     float64
	limited   bool
	cpu       func(at time.Duration) float64 // share of the cores
	throttled func(at time.Duration) float64 // share of the periods
	load      func(at time.Duration) float64
	pressure  func(at time.Duration) float64 // of the processor
	used      func(at time.Duration) float64 // share of the memory
	stall     func(at time.Duration) float64 // pressure of the memory
	kills     func(at time.Duration) uint64
	disk      func(at time.Duration) float64 // GiB of 500
	periods   float64
	throttles float64
}

// copy returns the machine before its start.
func (m *machine) copy() *machine {
	c := *m
	c.start, c.last, c.busy, c.periods, c.throttles = time.Time{}, time.Time{}, 0, 0, 0
	return &c
}

func (m *machine) at(f func(time.Duration) float64, quiet float64) float64 {
	if f == nil {
		return quiet
	}
	return f(time.Since(m.start))
}

func (m *machine) CPU(context.Context) (CPUUsage, error) {
	now := time.Now()
	for t := m.last; !m.last.IsZero() && t.Before(now); t = t.Add(5 * time.Second) {
		step := min(5*time.Second, now.Sub(t))
		share, throttled := 0.12, 0.0
		if m.cpu != nil {
			share = m.cpu(t.Sub(m.start))
		}
		if m.throttled != nil {
			throttled = m.throttled(t.Sub(m.start))
		}
		m.busy += time.Duration(share * m.cores * float64(step))
		m.periods += step.Seconds() * 10
		m.throttles += step.Seconds() * 10 * throttled
	}
	m.last = now
	u := CPUUsage{
		At: now, Busy: m.busy, Cores: m.cores, Limited: m.limited,
		Load5: m.at(m.load, 0.4), Pressure: m.at(m.pressure, -1),
	}
	if m.limited {
		u.Periods, u.Throttled = uint64(m.periods), uint64(m.throttles)
	}
	return u, nil
}

func (m *machine) Memory(context.Context) (MemoryUsage, error) {
	u := MemoryUsage{Total: 16 * gib, Limited: m.limited, Pressure: m.at(m.stall, -1)}
	u.Used = uint64(m.at(m.used, 0.45) * float64(u.Total))
	if m.kills != nil {
		u.Kills = m.kills(time.Since(m.start))
	}
	return u, nil
}

func (m *machine) Disk(context.Context, string) (DiskUsage, error) {
	u := DiskUsage{Total: 500 * gib, Used: uint64(m.at(m.disk, 200) * gib), Inodes: 1000, InodesFree: 900}
	u.Used = min(u.Used, u.Total)
	u.Free = u.Total - u.Used
	return u, nil
}

func (m *machine) Files(context.Context) (FilesUsage, error) {
	return FilesUsage{Open: 100, Limit: 1024}, nil
}

func (m *machine) checks() []health.Check {
	if m.cores == 0 {
		m.cores = 4
	}
	m.start = time.Now()
	return []health.Check{
		CPU("cpu", &CPUOptions{Probe: m}), Memory("memory", &MemoryOptions{Probe: m}), Disk("disk", "/", &DiskOptions{Probe: m}),
	}
}

// hours returns the time of day in hours.
func hours(at time.Duration) float64 { return math.Mod(at.Hours(), 24) }

// between is high from one hour of the day to another, and low else.
func between(from, minutes, high, low float64) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		if h := hours(at); h >= from && h < from+minutes/60 {
			return high
		}
		return low
	}
}

// every is high for some minutes of each period.
func every(period, long time.Duration, high, low float64) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		if at%period >= period/3 && at%period < period/3+long {
			return high
		}
		return low
	}
}

const m, h = time.Minute, time.Hour

// healthyDays are days on which nobody wants a message.
var healthyDays = map[string]*machine{
	"idle":                       {},
	"office hours":               {cpu: func(at time.Duration) float64 { return 0.3 + 0.4*math.Max(0, math.Sin((hours(at)-8)/10*math.Pi)) }},
	"two minutes full an hour":   {cpu: every(h, 2*m, 1, 0.1), load: every(h, 5*m, 4.3, 0.4)},
	"build of 15 min, 8 a day":   {cpu: every(3*h, 15*m, 1, 0.2), load: every(3*h, 18*m, 12, 1), pressure: every(3*h, 15*m, 80, 2)},
	"builds of 8 min, half hour": {cpu: every(30*m, 8*m, 1, 0.3), load: every(30*m, 12*m, 9, 2), pressure: every(30*m, 8*m, 70, 5)},
	"load average after a storm": {load: every(6*h, 18*m, 30, 1)},
	"nightly dump": {
		cpu: between(2, 25, 0.7, 0.1), disk: func(at time.Duration) float64 {
			if x := hours(at) - 2; x > 0 && x < 25.0/60 {
				return 200 + x*60
			} else if x >= 25.0/60 && x < 20 {
				return 225
			}
			return 200
		},
	},
	"dump on a fuller disk": {disk: func(at time.Duration) float64 {
		x := math.Min(math.Max(hours(at)-3, 0), 1) // 40 GiB within the hour, kept for the day
		return 330 + 40*x
	}},
	"log rotation":          {disk: func(at time.Duration) float64 { return 340 + math.Mod(at.Hours(), 8)*5 }},
	"database with a cache": {used: func(time.Duration) float64 { return 0.78 }, stall: every(2*h, 5*m, 15, 0)},
	"page cache in a group": {limited: true, cores: 1, used: func(time.Duration) float64 { return 0.35 }, stall: func(time.Duration) float64 { return 45 }},
	"batch in memory":       {used: every(4*h, 8*m, 0.97, 0.5), stall: every(4*h, 8*m, 35, 0)},
	"quota with short bursts": {
		limited: true, cores: 0.6, cpu: func(time.Duration) float64 { return 0.17 },
		throttled: func(time.Duration) float64 { return 0.6 }, load: func(time.Duration) float64 { return 14 }, pressure: func(time.Duration) float64 { return 30 },
	},
	"quota used up by batch":      {limited: true, cores: 2, cpu: every(h, 12*m, 1, 0.3), throttled: every(h, 12*m, 0.95, 0.05), pressure: every(h, 12*m, 90, 5)},
	"old kills before the start":  {limited: true, cores: 2, kills: func(time.Duration) uint64 { return 42 }},
	"neighbours busy, group calm": {limited: true, cores: 2, cpu: func(time.Duration) float64 { return 0.1 }, load: func(time.Duration) float64 { return 90 }},
	"slow growth of the disk":     {disk: func(at time.Duration) float64 { return 320 + at.Hours()*0.5 }},
	"growth that ends":            {disk: func(at time.Duration) float64 { return 310 + 50*math.Min(at.Hours()/2, 1) }},
	"backup and restore test":     {disk: between(4, 50, 260, 210), cpu: between(4, 18, 0.98, 0.1), used: between(4, 9, 0.9, 0.4)},
	"memory near the limit":       {used: func(time.Duration) float64 { return 0.83 }},
	"threads wait, work is done":  {cpu: func(time.Duration) float64 { return 0.75 }, pressure: func(time.Duration) float64 { return 45 }, load: func(time.Duration) float64 { return 6 }},
}

// faults begin at hour 6 and must be found within the stated time.
var faults = map[string]struct {
	machine *machine
	check   string
	within  time.Duration
}{
	"processor full":         {&machine{cpu: after(1, 0.2)}, "cpu", 22 * m},
	"quota full":             {&machine{limited: true, cores: 0.5, cpu: after(1, 0.2), throttled: after(0.97, 0)}, "cpu", 22 * m},
	"throttled for long":     {&machine{limited: true, cores: 2, cpu: after(0.75, 0.2), throttled: after(0.8, 0)}, "cpu", 22 * m},
	"run queue long":         {&machine{load: after(14, 1)}, "cpu", 22 * m},
	"tasks wait":             {&machine{cpu: after(0.85, 0.2), pressure: after(85, 2)}, "cpu", 22 * m},
	"memory leak":            {&machine{used: func(at time.Duration) float64 { return math.Min(0.45+math.Max(0, at.Hours()-6)*0.4, 0.99) }}, "memory", 75 * m},
	"memory full":            {&machine{used: after(0.97, 0.5)}, "memory", 12 * m},
	"memory thrashes":        {&machine{used: after(0.8, 0.5), stall: after(40, 0)}, "memory", 12 * m},
	"a process is killed":    {&machine{limited: true, cores: 2, kills: func(at time.Duration) uint64 { return uint64(after(1, 0)(at)) }}, "memory", 2 * m},
	"disk fills in 10 hours": {&machine{disk: func(at time.Duration) float64 { return math.Min(320+math.Max(0, at.Hours()-6)*18, 500) }}, "disk", 5 * h},
	"disk fills in an hour":  {&machine{disk: func(at time.Duration) float64 { return math.Min(200+math.Max(0, at.Hours()-6)*300, 500) }}, "disk", 42 * m},
	"disk full at once":      {&machine{disk: after(490, 200)}, "disk", 2 * m},
	"disk fills in a day":    {&machine{disk: func(at time.Duration) float64 { return math.Min(300+math.Max(0, at.Hours()-6)*9, 500) }}, "disk", 8 * h},
}

func after(high, low float64) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		if at >= 6*h {
			return high
		}
		return low
	}
}

// message is a change that somebody would be told of.
type message struct {
	at    time.Duration
	check string
	what  string
}

// day runs the checks of a machine for some time, as a service does: every 15 s,
// spread by 10 %. The seed decides about the spread, so that a day can be repeated.
func day(t *testing.T, mach *machine, lasting time.Duration, seed uint64) (messages []message) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(seed, 0))
		start := time.Now()
		o := quietOptions()
		o.OnChange = func(c health.Change) {
			if c.Kind == health.FlappingStarted || c.Kind == health.ConfirmedChange && c.To >= health.Warn {
				messages = append(messages, message{time.Since(start), c.State.Name, c.Kind.String() + " " + c.To.String() + ": " + c.State.Output})
			}
		}
		r, err := health.New(mach.checks(), o)
		require.NoError(t, err)
		request := httptest.NewRequest(http.MethodGet, "/health/", nil)
		for time.Since(start) < lasting {
			r.ServeHealth(httptest.NewRecorder(), request) // runs the checks that are due
			time.Sleep(time.Duration((0.9 + 0.2*random.Float64()) * float64(15*time.Second)))
		}
		synctest.Wait()
	})
	return messages
}

// shorter is set under the race detector.
var shorter = false

// daySeed is one spread; trend_test.go tries many.
const daySeed = 1

func TestHealthyDaysSendNothing(t *testing.T) {
	days := 25 * h
	if testing.Short() || shorter {
		days = 8 * h
	}
	for name, mach := range healthyDays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, day(t, mach.copy(), days, daySeed))
		})
	}
}

func TestFaultsAreFound(t *testing.T) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			messages := day(t, f.machine.copy(), 6*h+f.within, daySeed)
			require.NotEmpty(t, messages, "not found within %v", f.within)
			first := messages[0]
			require.Equal(t, f.check, first.check, first.what)
			require.GreaterOrEqual(t, first.at, 6*h, "before the fault")
			t.Logf("found after %v: %s", (first.at - 6*h).Round(time.Second), first.what)
		})
	}
}

// An hourly command finds the faults that last, from the counters of the run
// before, and says nothing on the days of the corpus.
func TestHourlyRunsJudgeTheHour(t *testing.T) {
	hourly := func(t *testing.T, mach *machine) (bad []string) {
		synctest.Test(t, func(t *testing.T) {
			var kept map[string][]byte
			checks := mach.checks
			start := time.Now()
			for range 24 {
				r, err := health.New(checks(), quietOptions())
				mach.start = start
				require.NoError(t, err)
				require.NoError(t, r.Recall(kept))
				snap, err := r.RunOnce(t.Context())
				require.NoError(t, err)
				for _, c := range snap.Checks {
					if c.Status >= health.Warn {
						bad = append(bad, time.Since(start).Round(m).String()+" "+c.Name+": "+c.Output)
					}
				}
				kept = r.Remember()
				time.Sleep(h)
			}
		})
		return bad
	}
	for name, mach := range healthyDays {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, hourly(t, mach.copy()))
		})
	}
	for _, name := range []string{"processor full", "quota full", "run queue long", "memory leak", "memory full", "a process is killed", "disk full at once", "disk fills in a day"} {
		mach := faults[name].machine
		t.Run(name, func(t *testing.T) {
			bad := hourly(t, mach.copy())
			require.NotEmpty(t, bad)
			require.Contains(t, bad[0], faults[name].check)
		})
	}
}

func TestStateThatCannotBeReadIsRefused(t *testing.T) {
	r := registryOf(t, CPU("cpu", nil))
	require.ErrorContains(t, r.Recall(map[string][]byte{"cpu": []byte("{"), "other": nil}), `check "cpu" starts without its earlier state`)
}
