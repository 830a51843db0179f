// Package health_test measures the health package beside
// alexliesenfeld/health v0.8.1 and hellofresh/health-go v5.5.5.
package health_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	alex "github.com/alexliesenfeld/health"
	hellofresh "github.com/hellofresh/health-go/v5"

	"github.com/mainstay-go/mainstay/health"
)

// subject is one way to serve the same checks.
type subject struct {
	name  string
	build func(tb testing.TB, timeout time.Duration, checks []func(context.Context) error) http.Handler
}

const interval = 50 * time.Millisecond // of what runs in the background

var everything = func(*http.Request) bool { return true }

var subjects = []subject{
	{"mainstay", func(tb testing.TB, timeout time.Duration, checks []func(context.Context) error) http.Handler {
		return mainstay(tb, timeout, checks, nil, true)
	}},
	{"mainstay-details", func(tb testing.TB, timeout time.Duration, checks []func(context.Context) error) http.Handler {
		return mainstay(tb, timeout, checks, everything, true)
	}},
	{"mainstay-on-demand", func(tb testing.TB, timeout time.Duration, checks []func(context.Context) error) http.Handler {
		return mainstay(tb, timeout, checks, nil, false)
	}},
	{"alexliesenfeld-cached", func(_ testing.TB, timeout time.Duration, checks []func(context.Context) error) http.Handler {
		var options []alex.CheckerOption
		for i, f := range checks {
			options = append(options, alex.WithCheck(alex.Check{Name: fmt.Sprint("check-", i), Timeout: timeout, Check: f}))
		}
		return alex.NewHandler(alex.NewChecker(options...))
	}},
	{"alexliesenfeld-periodic", func(tb testing.TB, timeout time.Duration, checks []func(context.Context) error) http.Handler {
		var options []alex.CheckerOption
		for i, f := range checks {
			options = append(options, alex.WithPeriodicCheck(interval, 0, alex.Check{Name: fmt.Sprint("check-", i), Timeout: timeout, Check: f}))
		}
		checker := alex.NewChecker(options...)
		tb.Cleanup(checker.Stop)
		return alex.NewHandler(checker)
	}},
	{"hellofresh", func(tb testing.TB, timeout time.Duration, checks []func(context.Context) error) http.Handler {
		h, err := hellofresh.New(hellofresh.WithComponent(hellofresh.Component{Name: "pos", Version: "1"}))
		if err != nil {
			tb.Fatal(err)
		}
		for i, f := range checks {
			if err := h.Register(hellofresh.Config{Name: fmt.Sprint("check-", i), Timeout: timeout, Check: f}); err != nil {
				tb.Fatal(err)
			}
		}
		return h.Handler()
	}},
}

// mainstay serves with Run in the background or without it.
func mainstay(tb testing.TB, timeout time.Duration, checks []func(context.Context) error, authorize func(*http.Request) bool, background bool) http.Handler {
	var list []health.Check
	for i, f := range checks {
		c := health.Func(fmt.Sprint("check-", i), timeout, f)
		c.Interval = interval
		list = append(list, c)
	}
	if !background {
		for i := range list {
			list[i].Interval = time.Second // as long as the peers keep results
		}
	}
	reg, err := health.New(list, &health.Options{Authorize: authorize, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		tb.Fatal(err)
	}
	if background {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- reg.Run(ctx) }()
		tb.Cleanup(func() { cancel(); <-done })
	}
	return only{reg}
}

// only serves /health/ whatever the path is, as the peers' handlers do.
type only struct{ reg *health.Registry }

func (o only) ServeHTTP(w http.ResponseWriter, r *http.Request) { o.reg.ServeHealth(w, r) }

func good(context.Context) error { return nil }

func repeat(n int, f func(context.Context) error) []func(context.Context) error {
	var all []func(context.Context) error
	for range n {
		all = append(all, f)
	}
	return all
}
