package backupcli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mainstay-go/mainstay/backup"
)

// history prints the last runs.
func (c *command) history(ctx context.Context, args []string) error {
	last := 20
	c.flags.IntVar(&last, "last", last, "how `many` runs; 0 is all that are known")
	rest, done, err := c.parse(ctx, args)
	if err != nil {
		return err
	}
	defer done()
	if len(rest) > 0 {
		return usagef("unexpected argument %q", rest[0])
	}
	runs, err := c.job.History(ctx, last)
	if err != nil {
		return err
	}
	if c.json {
		c.printJSON(append([]backup.Run{}, runs...))
		return nil
	}
	if len(runs) == 0 {
		fmt.Fprintln(c.Stdout, "no runs yet")
		return nil
	}
	table := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "BEGAN\tTOOK\tROWS\tDUMP\tSTORED\tOUTCOME")
	for _, r := range runs {
		rows, dump, stored := "-", "-", "-"
		if r.Published {
			rows, dump, stored = fmt.Sprint(r.Rows), bytesOf(r.RawSize), bytesOf(r.Size)
		}
		took := (time.Duration(r.TookMS) * time.Millisecond).Round(time.Millisecond)
		fmt.Fprintf(table, "%s\t%v\t%s\t%s\t%s\t%s\n", r.Time.Local().Format(time.DateTime), took, rows, dump, stored, outcome(r))
	}
	return table.Flush()
}

// outcome describes a run on one line.
func outcome(r backup.Run) string {
	text := strings.TrimPrefix(strings.Join(strings.Fields(r.Error), " "), "backup: ")
	switch {
	case !r.OK && r.Published:
		return fmt.Sprintf("%s, but %s failed: %s", r.ID, r.Stage, text)
	case !r.OK:
		return fmt.Sprintf("FAILED at %s: %s", r.Stage, text)
	case r.Restored:
		return r.ID + ", restored for a trial"
	case r.Verified:
		return r.ID + ", read back"
	}
	return r.ID
}
