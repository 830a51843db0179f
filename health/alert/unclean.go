package alert

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/notify"
)

const (
	// uncleanEvery keeps a service that crashes all the time from mailing each time.
	uncleanEvery = time.Hour
	// maxLives bounds the document where every start has a new host name.
	maxLives = 100
	farewell = 5 * time.Second // for the record of a clean stop
)

// life is what is known of the runs of one replica.
type life struct {
	// Began is when the run at work began; zero after a clean stop.
	Began time.Time `json:"began,omitzero"`
	// Cut counts runs that ended otherwise and of which nobody knows; Last is when
	// the last one of them began.
	Cut  int       `json:"cut,omitempty"`
	Last time.Time `json:"last,omitzero"`
	// Told is when people were told last.
	Told time.Time `json:"told,omitzero"`
	// Attempts counts failed deliveries in a row; the next one is at RetryAt.
	Attempts int       `json:"attempts,omitempty"`
	RetryAt  time.Time `json:"retryAt,omitzero"`
}

// begin records that this replica runs, and whether its last run was cut short.
func (a *Alerter) begin(ctx context.Context) {
	a.recordLife(ctx, func(d *document) {
		l := d.Lives[a.opts.Instance]
		if l == nil {
			l = &life{}
		}
		if !l.Began.IsZero() {
			l.Cut++
			l.Last = l.Began
		}
		l.Began = time.Now().Round(0).UTC()
		if d.Lives == nil {
			d.Lives = map[string]*life{}
		}
		d.Lives[a.opts.Instance] = l
		for len(d.Lives) > maxLives {
			delete(d.Lives, slices.MinFunc(slices.Collect(maps.Keys(d.Lives)), func(x, y string) int {
				return d.Lives[x].Began.Compare(d.Lives[y].Began)
			}))
		}
	})
}

// end records a clean stop.
func (a *Alerter) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	a.recordLife(ctx, func(d *document) {
		l := d.Lives[a.opts.Instance]
		if l == nil {
			return
		}
		if l.Began = (time.Time{}); l.Cut == 0 && time.Since(l.Told) >= uncleanEvery {
			delete(d.Lives, a.opts.Instance)
		}
	})
}

func (a *Alerter) recordLife(ctx context.Context, change func(*document)) {
	a.deciding.Lock()
	defer a.deciding.Unlock()
	err := a.opts.Store.Update(ctx, func(state []byte) ([]byte, error) {
		d, err := decode(state)
		if err != nil {
			return nil, err
		}
		change(d)
		return d.encode()
	})
	if err != nil {
		a.log.WarnContext(ctx, "alert: a start or stop cannot be recorded; the next start may be told wrongly", "error", err)
	}
}

// tellUnclean sends the message about runs that were cut short, if it is due, and
// returns when to look again.
func (a *Alerter) tellUnclean(ctx context.Context, d *document, now time.Time, r *rules) (time.Time, error) {
	l := d.Lives[r.instance]
	if l == nil || l.Cut == 0 || r.quiet(d, "", now) {
		return time.Time{}, nil
	}
	due := l.RetryAt
	if next := l.Told.Add(uncleanEvery); !l.Told.IsZero() && next.After(due) {
		due = next
	}
	if now.Before(due) {
		return due, nil
	}
	if free, ok := d.room(r); !ok {
		return free, nil
	}
	clock := func(t time.Time) string { return t.In(a.opts.Location).Format("2 Jan 15:04 MST") }
	var text strings.Builder
	fmt.Fprintf(&text, "%s on %s runs again since %s. ", a.opts.Service, r.instance, clock(l.Began))
	fmt.Fprintf(&text, "The run that began at %s did not stop cleanly: a crash, a kill, no memory or no power.", clock(l.Last))
	if l.Cut > 1 {
		fmt.Fprintf(&text, "\nSince the last message about it this has happened %d times.", l.Cut)
	}
	err := a.send(ctx, a.channel, notify.Message{
		Subject: fmt.Sprintf("[RESTARTED] %s: it had not stopped cleanly", a.opts.Service), Text: text.String(),
		Level: notify.Warning, Source: a.opts.Service, Time: now, Link: a.opts.StatusURL,
	})
	if err != nil {
		pause := a.opts.Retries[min(l.Attempts, len(a.opts.Retries)-1)]
		l.Attempts++
		l.RetryAt = time.Now().Add(time.Duration(float64(pause) * (0.9 + 0.2*rand.Float64())))
		a.log.ErrorContext(ctx, "alert: a message was not taken", "subject", "restart", "error", err, "next", l.RetryAt)
		return l.RetryAt, fmt.Errorf("alert: the message about a restart was not delivered: %w", err)
	}
	d.Sent = append(d.Sent, now)
	*l = life{Began: l.Began, Told: now}
	return time.Time{}, nil
}
