package alert

import (
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// Whatever is in the store, looking at it ends without a panic and with at most
// one message.
func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"version":1,"instances":{"a":{"until":"2099-01-01T00:00:00Z","checks":{"db":{"status":"fail","since":"2026-01-01T00:00:00Z","shared":true}}}}}`), true)
	f.Add([]byte(`{"version":1,"incident":{"id":"x","opened":"2026-01-01T00:00:00Z","told":{"db":{"name":"db","face":"fail"},"":{"name":"longer than its key","face":"warn"}},"delivered":1,"base":"2026-01-01T00:00:00Z","reminded":-3}}`), false)
	f.Add([]byte(`{"version":1,"silences":[{"until":"2099-01-01T00:00:00Z"}],"sent":["2026-11-23T11:59:00Z"]}`), true)
	f.Add([]byte(`null`), false)
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, stored []byte, bad bool) {
		d, err := decode(stored)
		if err != nil {
			return
		}
		r := &rules{
			instance: "a", known: []string{"db"}, minStatus: health.Warn, groupInterval: 5 * time.Minute,
			reminders: []time.Duration{time.Hour, 4 * time.Hour}, believe: time.Minute, maxPerHour: 20,
		}
		status := health.Pass
		if bad {
			status = health.Fail
		}
		snap := &health.Snapshot{Checks: []health.CheckState{{Name: "db", Shared: true, Confirmed: status, ConfirmedSince: now}}}
		d.observe(now, r, snap)
		if p, _ := d.decide(now, r, false); p != nil {
			if len(p.bad) == 0 && p.kind != recovery {
				t.Errorf("a %s about nothing", p.kind)
			}
			d.delivered(now, r, p)
			if again, _ := d.decide(now, r, false); again != nil {
				t.Errorf("a %s after a %s at the same moment", again.kind, p.kind)
			}
		}
		if _, err := d.encode(); err != nil {
			t.Error(err)
		}
	})
}
