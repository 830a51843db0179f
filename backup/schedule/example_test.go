package schedule_test

import (
	"context"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/backup/schedule"
)

// A night on which clocks jump from 02:00 to 03:00, and one on which they show
// 02:00 twice.
func ExampleDaily() {
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		panic(err)
	}
	daily, err := schedule.NewDaily(2, 0, madrid)
	if err != nil {
		panic(err)
	}
	fmt.Println(daily.Next(time.Date(2026, 3, 28, 12, 0, 0, 0, madrid)))
	fmt.Println(daily.Next(time.Date(2026, 10, 24, 12, 0, 0, 0, madrid)))
	// Output:
	// 2026-03-29 03:00:00 +0200 CEST
	// 2026-10-25 02:00:00 +0200 CEST
}

func ExampleScheduler() {
	daily, err := schedule.NewDaily(2, 0, time.Local)
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	scheduler, err := schedule.New(daily, func(context.Context) error {
		fmt.Println("backing up") // a service calls its backup job here
		stop()
		return nil
	}, &schedule.Options{
		Jitter: -1,
		// Nothing has been backed up so far: the first run is made at once.
		LastGood: func(context.Context) (time.Time, bool, error) { return time.Time{}, false, nil },
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(scheduler.Run(ctx))
	// Output:
	// backing up
	// <nil>
}
