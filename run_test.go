package mainstay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// record collects events in their order.
type record struct {
	mu     sync.Mutex
	events []string
}

func (r *record) add(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
}

func (r *record) part(name string) Part {
	return Part{
		Name: name,
		Run: func(ctx context.Context) error {
			<-ctx.Done()
			r.add("stopped " + name)
			return ctx.Err()
		},
		Close: func() error { r.add("closed " + name); return nil },
	}
}

var quiet = &Options{Logger: slog.New(slog.DiscardHandler)}

func TestPartsStopInReverseOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r record
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := Run(ctx, []Part{r.part("cache"), r.part("checks"), r.part("server")}, quiet); err != nil {
			t.Fatal(err)
		}
		want := []string{"stopped server", "closed server", "stopped checks", "closed checks", "stopped cache", "closed cache"}
		if !slices.Equal(r.events, want) {
			t.Errorf("events: %v", r.events)
		}
	})
}

func TestAFailedPartStopsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r record
		broken := errors.New("address already in use")
		err := Run(t.Context(), []Part{
			r.part("cache"),
			{Name: "api", Run: func(context.Context) error { time.Sleep(time.Second); return broken }},
		}, quiet)
		if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "api: ") {
			t.Errorf("Run returned %v", err)
		}
		if !slices.Contains(r.events, "closed cache") {
			t.Errorf("the cache was not closed: %v", r.events)
		}
	})
}

func TestAFinishedPartStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		err := Run(ctx, []Part{{Name: "migration", Run: func(context.Context) error { return nil }}}, quiet)
		if err != nil || time.Since(begin) != time.Hour {
			t.Errorf("Run returned %v after %v", err, time.Since(begin))
		}
	})
}

func TestAPartThatDoesNotStopIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r record
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		hung := Part{
			Name:  "hung",
			Run:   func(context.Context) error { <-release; return nil },
			Close: func() error { r.add("closed hung"); return nil },
		}
		err := Run(ctx, []Part{r.part("cache"), hung}, &Options{StopTimeout: time.Second, Logger: quiet.Logger})
		if !errors.Is(err, ErrStopTimeout) || !strings.Contains(err.Error(), "hung: ") {
			t.Errorf("Run returned %v", err)
		}
		if slices.Contains(r.events, "closed hung") || !slices.Contains(r.events, "closed cache") {
			t.Errorf("events: %v", r.events)
		}
		close(release)
	})
}

func TestACloseThatHangsIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r record
		release := make(chan struct{})
		defer close(release)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		broken := errors.New("3 orders were not written")
		hung := Part{
			Name:  "db",
			Run:   func(ctx context.Context) error { <-ctx.Done(); time.Sleep(time.Second); return broken },
			Close: func() error { <-release; return nil },
		}
		begin := time.Now()
		err := Run(ctx, []Part{r.part("cache"), hung, {Name: "log", Close: func() error { <-release; return nil }}}, &Options{StopTimeout: 3 * time.Second, Logger: quiet.Logger})
		if !errors.Is(err, ErrStopTimeout) || !errors.Is(err, broken) || !strings.Contains(err.Error(), "log: ") || !strings.Contains(err.Error(), "Close") {
			t.Errorf("Run returned %v", err)
		}
		if took := time.Since(begin); took != 6*time.Second || !slices.Contains(r.events, "closed cache") {
			t.Errorf("after %v: %v", took, r.events)
		}
	})
}

func TestOnlyTheCancellationIsDropped(t *testing.T) {
	lost := errors.New("3 orders were not written")
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"cancellation", context.Canceled, ""},
		{"wrapped", fmt.Errorf("reading: %w", context.Canceled), ""},
		{"two cancellations", errors.Join(context.Canceled, fmt.Errorf("b: %w", context.Canceled)), ""},
		{"joined", errors.Join(lost, context.Canceled), "queue: 3 orders were not written\ncontext canceled"},
		{"wrapped and joined", fmt.Errorf("spool: %w", errors.Join(context.Canceled, fmt.Errorf("flush: %w", lost))), "queue: spool: context canceled\nflush: 3 orders were not written"},
		{"two verbs", fmt.Errorf("%w after %w", lost, context.Canceled), "queue: 3 orders were not written after context canceled"},
		{"deep", errors.Join(errors.Join(context.Canceled, lost), context.Canceled), "queue: context canceled\n3 orders were not written\ncontext canceled"},
		{"other", lost, "queue: 3 orders were not written"},
		{"deadline", context.DeadlineExceeded, "queue: context deadline exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := Run(ctx, []Part{{Name: "queue", Run: func(ctx context.Context) error { <-ctx.Done(); return c.err }}}, quiet)
			if got := errorText(err); got != c.want {
				t.Errorf("Run returned %q instead of %q", got, c.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestAnEmptyPartIsRefused(t *testing.T) {
	err := Run(t.Context(), []Part{{Name: "forgotten"}}, quiet)
	if err == nil || !strings.Contains(err.Error(), "forgotten") {
		t.Errorf("Run returned %v", err)
	}
}
