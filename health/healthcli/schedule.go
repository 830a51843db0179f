package healthcli

import (
	"fmt"
	"io"
	"strings"

	"github.com/mainstay-go/mainstay/hostschedule"
)

// Schedule writes instructions to run a health command once an hour with the scheduler
// of the host: the files to install and the commands that do it. The target is
// "systemd", "cron" or "windows". name is the name of the unit or task, in lower-case
// letters, digits and hyphens. command is the absolute path of the program and its
// arguments, with --notify. It must contain no secrets, because every user of the host
// can read it.
func Schedule(w io.Writer, target, name string, command ...string) error {
	plan, err := hostschedule.Job{
		Name: name, Description: name + ": hourly health check", Command: command, Cadence: hostschedule.Hourly(minute(name)),
	}.Plan(target)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, f := range plan.Files {
		fmt.Fprintf(&b, "# %s\n%s\n", f.Path, f.Text)
	}
	if len(plan.Commands) > 0 {
		b.WriteString("# then\n")
	}
	for _, c := range plan.Commands {
		b.WriteString(strings.Join(c, " ") + "\n")
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// minute spreads the services of a host over the hour.
func minute(name string) int {
	sum := 0
	for _, r := range name {
		sum = (sum*31 + int(r)) % 60
	}
	return sum
}
