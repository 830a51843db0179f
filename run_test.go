package mainstay

import (
	"context"
	"errors"
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

func TestAnEmptyPartIsRefused(t *testing.T) {
	err := Run(t.Context(), []Part{{Name: "forgotten"}}, quiet)
	if err == nil || !strings.Contains(err.Error(), "forgotten") {
		t.Errorf("Run returned %v", err)
	}
}
