package alert

import (
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

// Whatever is in the store, deciding ends without a panic, and what was told is
// not told again at the same moment.
func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"version":3,"instances":{"a":{"run":{"seen":"2099-01-01T00:00:00Z","checks":{"db":{"status":"fail","since":"2026-01-01T00:00:00Z","shared":true}}}}}}`), true)
	f.Add([]byte(`{"version":3,"instances":{"b":{"lost":"2026-01-01T00:00:00Z"},"c":{"run":null,"unclean":[{"at":"2026-11-23T11:59:00Z"},{"at":"2026-11-23T11:59:00Z"},{"at":"2026-11-23T11:59:00Z"}]}}}`), true)
	f.Add([]byte(`{"version":3,"alerts":{"db":{"id":"x","name":"db","face":"fail","opened":"2026-01-01T00:00:00Z","since":"2026-01-01T00:00:00Z","told":{"r":{"keys":["x-0"],"face":"fail","base":"2026-01-01T00:00:00Z","reminded":-3,"thread":"t"}}},"":{"id":"y","face":"lost"}},"receivers":{"r":{"threads":{"t":null}}}}`), false)
	f.Add([]byte(`{"version":3,"silences":[{"until":"2099-01-01T00:00:00Z","set":"2098-12-31T00:00:00Z"}],"receivers":{"r":{"sent":["2026-11-23T11:59:00Z"],"attempts":-1,"sending":"2099-01-01T00:00:00Z"}}}`), true)
	f.Add([]byte(`{"version":3,"alerts":{"db":{"id":"x","name":"db","face":"fail","opened":"2026-01-01T00:00:00Z","since":"2026-01-01T00:00:00Z","ended":"2026-11-23T11:00:00Z","ending":"recovered","noticed":"2026-11-23T11:00:00Z","told":{"r":{"keys":["x-0","y-1"]}}}}}`), false)
	f.Add([]byte(`null`), false)
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	w, err := wordsOf("es")
	if err != nil {
		f.Fatal(err)
	}
	x, err := parseTexts(nil)
	if err != nil {
		f.Fatal(err)
	}
	to := &receiver{Receiver: Receiver{Name: "r", MinLevel: notify.Warning, Reminders: []time.Duration{time.Hour, 4 * time.Hour}}, words: w, texts: x}
	reg, err := health.New(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, stored []byte, bad bool) {
		d, err := decode(stored)
		if err != nil {
			return
		}
		r := &rules{
			instance: "a", boot: "boot", known: []string{"db"}, minStatus: health.Warn, groupInterval: 5 * time.Minute,
			maxPerHour: 20, retries: []time.Duration{time.Minute}, sendTimeout: time.Second, lost: true, receivers: []*receiver{to},
		}
		status := health.Pass
		if bad {
			status = health.Fail
		}
		snap := &health.Snapshot{Checks: []health.CheckState{{Name: "db", Shared: true, Confirmed: status, ConfirmedSince: now}}}
		a := &Alerter{opts: Options{Service: "pos", Instance: "a", Location: time.UTC}, receivers: r.receivers, local: newDocument(), reg: reg}
		sent := map[string]int{}
		for range 50 {
			plans, _, _ := a.decide(d, snap, now, r)
			for _, p := range plans {
				m := a.compose(t.Context(), p, snap, now)
				if m.Subject == "" || m.Text == "" {
					t.Errorf("%+v", m)
				}
				for _, c := range p.content {
					if sent[c.id+string(c.event)+string(c.face)]++; sent[c.id+string(c.event)+string(c.face)] > 1 && c.id != "" {
						t.Errorf("%v is told again", c)
					}
				}
				d.finish(r, outcome{plan: p, at: now})
			}
			if len(plans) == 0 {
				break
			}
		}
		if _, err := d.encode(); err != nil {
			t.Error(err)
		}
	})
}
