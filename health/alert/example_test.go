package alert_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/notify"
)

// A command that runs at intervals reports a problem once, and its end once. A server
// calls Run instead of Once.
func ExampleAlerter_Once() {
	var trouble error
	database := health.Func("database", time.Second, func(context.Context) error { return trouble })
	database.FailAfter, database.RecoverAfter = 1, 1 // one run is enough here
	reg, err := health.New([]health.Check{database}, nil)
	if err != nil {
		panic(err)
	}
	phone := notify.Func(func(_ context.Context, m notify.Message) error {
		fmt.Println(m.Subject)
		return nil
	})
	alerts, err := alert.New(reg, phone, &alert.Options{Service: "pos", GroupInterval: time.Nanosecond})
	if err != nil {
		panic(err)
	}
	for _, trouble = range []error{nil, errors.New("down"), errors.New("down"), nil, nil} {
		snap, err := reg.RunOnce(context.Background())
		if err != nil {
			panic(err)
		}
		if err := alerts.Once(context.Background(), snap); err != nil {
			panic(err)
		}
	}
	// Output:
	// [UNHEALTHY] pos: database
	// [RECOVERED] pos: database after 0 s
}
