package mainstay_test

import (
	"context"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay"
)

// A service lists its parts once. They stop in the reverse order, each after everything that uses it.
func ExampleRun() {
	// In a service: signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM).
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()

	wait := func(name string) func(context.Context) error {
		return func(ctx context.Context) error {
			<-ctx.Done()
			fmt.Println(name, "stops")
			return nil
		}
	}
	err := mainstay.Run(ctx, []mainstay.Part{
		{Name: "cache", Run: wait("cache"), Close: func() error { fmt.Println("cache closes"); return nil }},
		{Name: "checks", Run: wait("checks")},
		{Name: "api", Run: wait("api")}, // in a service: mainstay.HTTP("api", server, &mainstay.HTTPOptions{Drain: checks.Drain})
	}, nil)
	fmt.Println(err)
	// Output:
	// api stops
	// checks stops
	// cache stops
	// cache closes
	// <nil>
}
