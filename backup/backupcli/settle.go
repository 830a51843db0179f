package backupcli

import (
	"context"
	"fmt"
	"strings"

	"github.com/mainstay-go/mainstay/backup"
)

// settle ends interrupted restores.
func (c *command) settle(ctx context.Context, args []string) error {
	var drop, keep bool
	c.flags.BoolVar(&drop, "drop", false, "remove the databases, files or folders that they may have left, and forget them")
	c.flags.BoolVar(&keep, "keep", false, "forget them, and remove nothing")
	rest, done, err := c.parse(ctx, args)
	if err != nil {
		return err
	}
	defer done()
	switch {
	case len(rest) > 0:
		return usagef("unexpected argument %q", rest[0])
	case drop && keep:
		return usagef("--drop and --keep contradict each other")
	}
	list := []backup.UnfinishedRestore{}
	if drop || keep {
		list, err = c.job.Settle(ctx, drop)
	} else {
		var found []backup.UnfinishedRestore
		found, err = c.job.Unfinished(ctx)
		list = append(list, found...)
	}
	if c.json {
		c.printJSON(list)
		return err
	}
	for i := range list {
		u := &list[i]
		switch {
		case drop && len(u.Left) > 0:
			fmt.Fprintf(c.Stdout, "%s  settled: %s removed\n", u.ID, strings.Join(u.Left, ", "))
		case drop || keep:
			fmt.Fprintf(c.Stdout, "%s  settled\n", u.ID)
		default:
			fmt.Fprintln(c.Stdout, u)
		}
	}
	switch {
	case err != nil:
		return err
	case len(list) == 0:
		fmt.Fprintln(c.Stdout, "no restore was interrupted")
	case !drop && !keep:
		fmt.Fprintf(c.Stdout, "'%[1]s settle --drop' removes what they left, '%[1]s settle --keep' only forgets them\n", c.Name)
	}
	return nil
}

// warnUnfinished prints a line for each interrupted restore.
func (c *command) warnUnfinished(ctx context.Context) {
	list, err := c.job.Unfinished(ctx)
	if err != nil {
		fmt.Fprintf(c.Stderr, "%s: warning: interrupted restores could not be looked for: %v\n", c.Name, err)
	}
	for i := range list {
		fmt.Fprintf(c.Stderr, "%s: warning: %s\n", c.Name, &list[i])
	}
}
