package health_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// A service checks its dependencies. It shows details to clients with the token, and
// only the state to all others.
func Example() {
	ask := func(context.Context) error { return nil } // your client's Ping
	reg, err := health.New([]health.Check{
		health.Func("search", time.Second, ask),
		health.Func("licence", time.Second, func(context.Context) error { return nil }),
	}, &health.Options{Authorize: health.BearerToken("let-me-in"), Service: "pos-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	// A server does this in the background: go reg.Run(ctx). Without it, a request runs
	// the checks.
	mux := http.NewServeMux()
	reg.Mount(mux)

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/health/", nil))
	fmt.Println(w.Code, w.Body)
	// Output: 200 {"status":"pass"}
}

// A number with limits grades itself. The status follows from the measurement, and is
// left only two points under the threshold.
func ExampleChecker() {
	till := health.CheckerFunc(func(context.Context) health.Result {
		cash := 93.0 // percent of what the drawer holds
		return health.Result{
			Summary: "the drawer is nearly full",
			Observed: []health.Measurement{{
				Name: "utilization", Value: cash, Unit: "percent",
				Limits: health.Limits{Warn: 80, Fail: 98, Clear: 2},
			}},
		}
	})
	reg, err := health.New([]health.Check{{Name: "till", Checker: till, Timeout: time.Second}}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	snap, err := reg.RunOnce(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	till1, _ := snap.Check("till")
	fmt.Println(till1.Status, "-", till1.Output)
	// Output: warn - the drawer is nearly full
}

// A confirmed change needs three failures in a row. The single failure before them is a
// raw change and needs no alert.
func ExampleRegistry_Subscribe() {
	results := []error{nil, errors.New("refused"), nil, errors.New("refused"), errors.New("refused"), errors.New("refused")}
	run := 0
	reg, err := health.New([]health.Check{
		health.Func("database", time.Second, func(context.Context) error {
			run++
			return results[run-1]
		}),
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	confirmed := make(chan health.Change, 1)
	reg.Subscribe(func(c health.Change) {
		if c.Kind == health.ConfirmedChange && c.To == health.Fail {
			confirmed <- c
		}
	})
	for range results {
		if _, err := reg.RunOnce(context.Background()); err != nil {
			fmt.Println(err)
		}
	}
	c := <-confirmed
	fmt.Printf("%s: %s to %s after %d results\n", c.State.Name, c.From, c.To, run)
	// Output: database: pass to fail after 6 results
}

// On SIGTERM /ready/ turns 503 at once. The load balancer notices, and then the server
// is shut down.
func ExampleRegistry_Drain() {
	reg, err := health.New(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	ready := func() int {
		w := httptest.NewRecorder()
		reg.ServeReady(w, httptest.NewRequest(http.MethodGet, "/ready/", nil))
		return w.Code
	}
	fmt.Println(ready())
	reg.Drain()
	fmt.Println(ready())
	// Output:
	// 200
	// 503
}

// The check of backups takes a function, so it works with any backup tool.
func ExampleBackups() {
	list := func(context.Context) ([]health.Backup, error) {
		return []health.Backup{{Time: time.Now().Add(-60 * time.Hour), Size: 48 << 20}}, nil
	}
	reg, err := health.New([]health.Check{health.Backups("backups", list, nil)}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	snap, err := reg.RunOnce(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(snap.Checks[0].Status, "-", snap.Checks[0].Output)
	// Output: fail - newest is 2 days old, 48.0 MiB
}
