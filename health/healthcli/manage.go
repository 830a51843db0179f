package healthcli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
)

// manages reports whether the arguments request an action other than a run of the
// checks.
func (f *flags) manages() bool { return f.silence > 0 || f.alerts || f.ack != "" }

// manage lists, acknowledges or silences alerts.
func manage(ctx context.Context, alerts *alert.Alerter, f flags, names []string, stdout io.Writer) (int, error) {
	by := f.by
	if by == "" {
		if u, err := user.Current(); err == nil {
			by = u.Username
		}
	}
	by = cmp.Or(by, "command")
	if f.ack != "" {
		if err := alerts.Acknowledge(ctx, f.ack, by); err != nil {
			return NoResult, err
		}
		fmt.Fprintf(stdout, "%s is acknowledged by %s\n", f.ack, by)
	}
	if f.silence > 0 {
		if err := silence(ctx, alerts, f, names, by, stdout); err != nil {
			return NoResult, err
		}
	}
	if f.alerts {
		if err := list(ctx, alerts, stdout); err != nil {
			return NoResult, err
		}
	}
	return Pass, nil
}

func silence(ctx context.Context, alerts *alert.Alerter, f flags, names []string, by string, stdout io.Writer) error {
	until := time.Now().Add(f.silence)
	if names == nil {
		names = []string{""}
	}
	for _, name := range names {
		if err := alerts.Silence(ctx, alert.Silence{Check: name, Until: until, By: by, Reason: "by command"}); err != nil {
			return err
		}
	}
	what := "all checks"
	if f.only != "" {
		what = strings.Join(names, ", ")
	}
	fmt.Fprintf(stdout, "no messages about %s until %s\n", what, until.Format("2006-01-02 15:04 MST"))
	return nil
}

// list prints one line per open alert.
func list(ctx context.Context, alerts *alert.Alerter, stdout io.Writer) error {
	if _, err := alerts.Silences(ctx); err != nil { // reads the store
		return err
	}
	out := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, al := range alerts.Alerts().Open {
		state := strings.ToUpper(al.State)
		if al.Critical {
			state += ", critical"
		}
		if al.AckBy != "" {
			state += ", acknowledged by " + al.AckBy
		}
		subject := cmp.Or(al.Check, "instance")
		if al.Instance != "" {
			subject += "@" + al.Instance
		}
		fmt.Fprintf(out, "%s\t%s\tsince %s\t%s\t%s\n", al.ID, subject, al.Since.Local().Format("2006-01-02 15:04 MST"), state, printable(health.Scrub(al.Output)))
	}
	return out.Flush()
}
