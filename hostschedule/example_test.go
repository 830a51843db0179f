package hostschedule_test

import (
	"fmt"

	"github.com/mainstay-go/mainstay/hostschedule"
)

func ExampleJob() {
	job := hostschedule.Job{
		Name:    "pos-backup",
		Command: []string{"/usr/local/bin/pos", "backup", "--compress", "--keep-days=30", "--notify"},
		Cadence: hostschedule.Daily(4, 0),
	}
	line, err := job.Crontab()
	if err != nil {
		panic(err)
	}
	fmt.Print(line)
	// Output:
	// # pos-backup
	// 0 4 * * * /usr/local/bin/pos backup --compress --keep-days=30 --notify
}
