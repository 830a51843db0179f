package ratelimit

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// admitRules decides the checks of an interceptor's rules for one request, and puts those that cost
// nothing so far within the reach of Charge. skipped are the policies of rules that leave the
// request out.
func admitRules(ctx context.Context, logger *slog.Logger, checks, free []Check, skipped []string) (*Admission, error) {
	a, err := admit(ctx, checks)
	a.logger, a.skipped = logger, skipped
	for i := range free {
		p := free[i].Limiter.Policy()
		a.free = append(a.free, &Reservation{result: Result{Policy: p.Name, Limit: p.Limit, Window: p.Window}, open: &free[i]})
	}
	a.noteTwice()
	return a, err
}

// noteMistake logs an error that only the service can fix, once a minute for each policy and
// cause.
func noteMistake(ctx context.Context, logger *slog.Logger, d *Decision, err error) {
	if d.Status(err) != http.StatusInternalServerError {
		return
	}
	if policy := d.mistaken(err); notices.due(policy + " " + err.Error()) {
		logger.ErrorContext(ctx, "ratelimit: requests cannot be limited and are refused; this line comes once a minute", "policy", policy, "error", err)
	}
}

// mistaken returns the policy of the check that err is about, or the policies of all checks.
func (d *Decision) mistaken(err error) string {
	var list []string
	for i := range d.checks {
		c := &d.checks[i]
		name := c.Limiter.Policy().Name
		if errors.Is(err, ErrEmptyKey) && c.Key == "" || errors.Is(err, ErrInvalidCost) && c.Cost < 0 {
			return name
		}
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return strings.Join(list, " ")
}

// noticeBoard remembers which texts have been logged within the last minute.
type noticeBoard struct {
	mu     sync.Mutex
	logged map[string]time.Time
}

var notices noticeBoard

const maxNotices = 1000

// due reports whether a text was not logged within the last minute, and notes that it is now.
func (b *noticeBoard) due(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if at, ok := b.logged[text]; ok && now.Sub(at) < time.Minute && !now.Before(at) {
		return false
	}
	if b.logged == nil || len(b.logged) >= maxNotices {
		b.logged = make(map[string]time.Time)
	}
	b.logged[text] = now
	return true
}
