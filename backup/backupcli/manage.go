package backupcli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/notify"
)

// entryJSON is a backup as list --json shows it.
type entryJSON struct {
	ID          string              `json:"id"`
	State       backup.State        `json:"state"`
	Problem     string              `json:"problem,omitempty"`
	Pinned      bool                `json:"pinned"`
	Verified    *time.Time          `json:"verified"`
	RestoreTest *backup.RestoreTest `json:"drill,omitempty"`
	Backup      *backup.Manifest    `json:"backup"`
}

func toJSON(e backup.Entry) entryJSON {
	j := entryJSON{ID: e.ID, State: e.State, Problem: e.Problem, Pinned: e.Pinned, RestoreTest: e.RestoreTest, Backup: withoutAccounts(e.Manifest)}
	if !e.Verified.IsZero() {
		j.Verified = &e.Verified
	}
	return j
}

func (c *command) list(ctx context.Context, args []string) error {
	rest, done, err := c.parse(ctx, args)
	if err != nil {
		return err
	}
	defer done()
	if len(rest) > 0 {
		return usagef("unexpected argument %q", rest[0])
	}
	entries, err := c.job.List(ctx)
	if err != nil {
		return err
	}
	if c.json {
		out := []entryJSON{}
		for _, e := range entries {
			out = append(out, toJSON(e))
		}
		c.printJSON(out)
		return nil
	}
	c.warnUnfinished(ctx)
	if len(entries) == 0 {
		where := ""
		if _, err := c.job.Find(ctx, ""); err != nil { // it names the folder, which may be misspelt
			where = strings.TrimPrefix(err.Error(), "backup: not found: there is no good backup yet")
		}
		fmt.Fprintf(c.Stdout, "no backups yet%s: take one with '%s'\n", where, c.Name)
		return nil
	}
	table := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tTAKEN\tSIZE\tROWS\tSTATE\tVERIFIED")
	for _, e := range entries {
		taken, size, rows, verified := "?", "?", "?", "never"
		if m := e.Manifest; m != nil {
			taken, size, rows = ago(m.Started), bytesOf(m.Size), fmt.Sprint(m.RowsTotal)
		}
		if !e.Verified.IsZero() {
			verified = ago(e.Verified)
		}
		switch {
		case e.RestoreTest != nil && e.RestoreTest.OK:
			verified += ", restored " + ago(e.RestoreTest.Time)
		case e.RestoreTest != nil:
			verified += ", RESTORE FAILED " + ago(e.RestoreTest.Time) + ": " + e.RestoreTest.Problem
		}
		state := string(e.State)
		if e.Pinned {
			state += ", pinned"
		}
		if e.Problem != "" {
			state += " (" + e.Problem + ")"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", e.ID, taken, size, rows, state, verified)
	}
	return table.Flush()
}

func (c *command) verify(ctx context.Context, args []string) error {
	var all, restore bool
	c.flags.BoolVar(&restore, "restore", false, "restore it into a scratch database too, compare its rows and ask the assertions")
	c.flags.BoolVar(&all, "all", false, "verify every backup, not only the newest good one")
	c.identityFlag()
	rest, done, err := c.parse(ctx, args)
	if err != nil {
		return err
	}
	defer done()
	ids := rest
	if all && len(ids) > 0 {
		return usagef("--all and an id contradict each other")
	}
	if all {
		entries, err := c.job.List(ctx)
		if err != nil {
			return err
		}
		for _, e := range entries {
			ids = append(ids, e.ID)
		}
		if len(ids) == 0 {
			_, err := c.job.Find(ctx, "")
			return err
		}
	} else if len(ids) == 0 {
		ids = []string{""}
	}
	var errs []error
	results := []backup.Verification{}
	for _, id := range ids {
		verify := c.job.Verify
		if restore {
			verify = c.job.TestRestore
		}
		v, err := verify(ctx, id)
		if all && errors.Is(err, backup.ErrNotFound) {
			continue // deleted since the listing
		}
		errs = append(errs, err)
		if v.ID == "" {
			continue
		}
		results = append(results, v)
		if !c.json && err == nil {
			what := "decodes to what was dumped"
			if !v.Decoded {
				what = "has the right checksum (encrypted: give --identity to decode it)"
				if len(c.o.Identities) > 0 {
					what = "has the right checksum (encrypted, and the given --identity does not open it: it may need the key of an earlier time)"
				}
			}
			fmt.Fprintf(c.Stdout, "%s  good: %s, read in %v\n", v.ID, what, time.Duration(v.TookMS)*time.Millisecond)
			if restore {
				fmt.Fprintf(c.Stdout, "%s  restored into a scratch database in %v: %d tables, %d rows as in the backup, %d assertions hold\n",
					v.ID, time.Duration(v.RestoreTest.RestoreMS)*time.Millisecond, v.RestoreTest.Tables, v.RestoreTest.Rows, len(v.RestoreTest.Assertions))
			}
		}
	}
	if c.json {
		c.printJSON(results)
	}
	return errors.Join(errs...)
}

func (c *command) restore(ctx context.Context, args []string) error {
	var target, overwrite, tables string
	c.flags.StringVar(&overwrite, "overwrite", "", "put it in the place of the original, whose `name` is to be repeated here; what is there is backed up first")
	c.flags.StringVar(&target, "to", "", "the new `database`; it must not exist (default: a name with today's date)")
	c.flags.StringVar(&tables, "tables", "", "only these `tables`, joined by commas, by their names in the manifest (default: everything)")
	c.identityFlag()
	var b *bar
	if b = newBar(c.Stderr); b != nil {
		c.o.Trace = &backup.Trace{Progress: b.draw}
	}
	defer b.clear()
	rest, done, err := c.parse(ctx, args)
	if err != nil {
		return err
	}
	defer done()
	if len(rest) > 1 {
		return usagef("restore takes one backup's id, or none for the newest good one")
	}
	if target != "" && overwrite != "" {
		return usagef("--to and --overwrite contradict each other")
	}
	id, safety := strings.Join(rest, ""), ""
	var r backup.RestoreReport
	var opts backup.RestoreOptions
	if tables != "" {
		opts.Tables = strings.Split(tables, ",")
	}
	if overwrite != "" {
		var over backup.OverwriteReport
		over, err = c.job.RestoreOver(ctx, id, overwrite, &opts)
		r, safety = over.RestoreReport, over.Safety
	} else {
		r, err = c.job.Restore(ctx, id, target, &opts)
	}
	b.clear()
	if err != nil {
		return err
	}
	if c.json {
		c.printJSON(struct {
			ID       string         `json:"id"`
			Target   string         `json:"target"`
			Tables   []driver.Table `json:"tables"`
			Rows     int64          `json:"rows"`
			TookMS   int64          `json:"took_ms"`
			Warnings []string       `json:"warnings,omitempty"`
			Safety   string         `json:"safety,omitempty"` // the backup of the overwritten state
		}{r.ID, r.Target, r.Contents.Tables, r.Contents.Rows(), r.Took.Milliseconds(), r.Contents.Warnings, safety})
		return nil
	}
	fmt.Fprintf(c.Stdout, "%s restored as %s: %d tables, %d rows as in the backup, in %v\n", r.ID, r.Target, len(r.Contents.Tables), r.Contents.Rows(), r.Took.Round(time.Millisecond))
	if safety != "" {
		fmt.Fprintf(c.Stdout, "what was there before is in %s, which is pinned\n", safety)
	}
	for _, warning := range r.Contents.Warnings {
		fmt.Fprintf(c.Stderr, "%s: warning: %s\n", c.Name, warning)
	}
	return nil
}

func (c *command) prune(ctx context.Context, args []string) error {
	var policy backup.Policy
	var dryRun bool
	c.flags.IntVar(&policy.Days, "keep-days", 0, "keep backups of so many `days` before the newest good one (default 30, if no other rule is given)")
	c.flags.IntVar(&policy.Last, "keep-last", 0, "keep the newest so many")
	c.flags.IntVar(&policy.Daily, "keep-daily", 0, "keep the newest of so many days")
	c.flags.IntVar(&policy.Weekly, "keep-weekly", 0, "keep the newest of so many weeks")
	c.flags.IntVar(&policy.Monthly, "keep-monthly", 0, "keep the newest of so many months")
	c.flags.IntVar(&policy.Yearly, "keep-yearly", 0, "keep the newest of so many years")
	c.flags.Int64Var(&policy.MaxBytes, "max-bytes", 0, "let the oldest go until all together take no more than so many bytes (0: no bound)")
	c.flags.BoolVar(&policy.Force, "force", false, "allow more than half of the good backups to go")
	c.flags.BoolVar(&dryRun, "dry-run", false, "only say what would go, and why the others stay")
	rest, done, err := c.parse(ctx, args)
	if err != nil {
		return err
	}
	defer done()
	switch {
	case len(rest) > 0:
		return usagef("unexpected argument %q", rest[0])
	case policy.Days < 0 || policy.Last < 0 || policy.Daily < 0 || policy.Weekly < 0 || policy.Monthly < 0 || policy.Yearly < 0 || policy.MaxBytes < 0:
		return usagef("what to keep cannot be negative")
	}
	decisions, failure := c.job.Prune(ctx, policy, dryRun)
	if c.json {
		type decision struct {
			ID      string   `json:"id"`
			Keep    bool     `json:"keep"`
			Reasons []string `json:"reasons"`
		}
		out := []decision{}
		for _, d := range decisions {
			out = append(out, decision{d.Entry.ID, d.Keep, d.Reasons})
		}
		c.printJSON(out)
		return failure
	}
	for _, d := range decisions {
		verb := "keep"
		if !d.Keep {
			verb = "delete"
		}
		fmt.Fprintf(c.Stdout, "%-6s  %s  %s\n", verb, d.Entry.ID, strings.Join(d.Reasons, "; "))
	}
	return failure
}

func (c *command) pin(ctx context.Context, args []string) error {
	var remove bool
	c.flags.BoolVar(&remove, "remove", false, "let retention delete it again")
	rest, done, err := c.parse(ctx, args)
	if err != nil {
		return err
	}
	defer done()
	if len(rest) != 1 {
		return usagef("pin takes the id of a backup")
	}
	if err := c.job.Pin(ctx, rest[0], !remove); err != nil {
		return err
	}
	pinned := !remove
	c.done(outcomeJSON{OK: true, ID: rest[0], Pinned: &pinned}, map[bool]string{
		true: "pinned: retention does not delete it", false: "no longer pinned: retention may delete it",
	}[pinned])
	return nil
}

// done reports success.
func (c *command) done(o outcomeJSON, text string) {
	if c.json {
		c.printJSON(o)
		return
	}
	fmt.Fprintf(c.Stdout, "%s  %s\n", o.ID, text)
}

func (c *command) accept(ctx context.Context, args []string) error {
	rest, done, err := c.parse(ctx, args)
	if err != nil {
		return err
	}
	defer done()
	if len(rest) != 1 {
		return usagef("accept takes the id of a suspect backup")
	}
	switch e, err := c.job.Find(ctx, rest[0]); {
	case err != nil:
		return err
	case e.State != backup.Suspect:
		return usagef("%s is not suspect but %s", e.ID, e.State)
	}
	if err := c.job.Accept(ctx, rest[0]); err != nil {
		return err
	}
	c.done(outcomeJSON{OK: true, ID: rest[0]}, "accepted: it counts as a good one, and deletion goes on")
	return nil
}

// delete removes one backup.
func (c *command) delete(ctx context.Context, args []string) error {
	rest, done, err := c.parse(ctx, args)
	if err != nil {
		return err
	}
	defer done()
	if len(rest) != 1 {
		return usagef("delete takes the id of a backup")
	}
	if err := c.job.Delete(ctx, rest[0]); err != nil {
		return err
	}
	c.done(outcomeJSON{OK: true, ID: rest[0]}, "deleted")
	return nil
}

// accounts prints the accounts of a backup.
func (c *command) accounts(ctx context.Context, args []string) error {
	c.identityFlag()
	rest, done, err := c.parse(ctx, args)
	if err != nil {
		return err
	}
	defer done()
	if len(rest) > 1 {
		return usagef("accounts takes one backup's id, or none for the newest good one")
	}
	return c.job.Accounts(ctx, strings.Join(rest, ""), c.Stdout)
}

// withoutAccounts removes the password hashes from the output.
func withoutAccounts(m *backup.Manifest) *backup.Manifest {
	if m == nil || m.Accounts == "" {
		return m
	}
	shown := *m
	shown.Accounts = ""
	return &shown
}

// notifyTest sends a test message.
func (c *command) notifyTest(ctx context.Context, args []string) error {
	rest, err := c.read(args)
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return usagef("unexpected argument %q", rest[0])
	case c.Notifier == nil:
		return usagef("notify-test needs a mail server or webhook: none is set up")
	}
	if err := notify.Test(ctx, c.Notifier, c.Name); err != nil {
		return errNotify{err}
	}
	if s, ok := c.Notifier.(spool); ok && s.Flush(ctx) > 0 {
		return errNotify{errors.New("it was not taken yet, and goes with the next run")}
	}
	if c.json {
		c.printJSON(outcomeOf(nil, nil))
		return nil
	}
	fmt.Fprintln(c.Stdout, "a message was taken: see whether it arrives")
	return nil
}

func (c *command) check(ctx context.Context, args []string) error {
	var maxAge time.Duration
	c.flags.DurationVar(&maxAge, "max-age", 26*time.Hour, "how old the newest good backup may be")
	rest, done, err := c.parse(ctx, args)
	if err != nil {
		return err
	}
	defer done()
	if len(rest) > 0 {
		return usagef("unexpected argument %q", rest[0])
	}
	s, failure := c.job.Check(ctx, maxAge)
	if c.json {
		out := struct {
			OK       bool        `json:"ok"`
			Error    string      `json:"error,omitempty"`
			Newest   *entryJSON  `json:"newest"`
			Good     int         `json:"good"`
			Suspect  int         `json:"suspect"`
			Damaged  int         `json:"damaged"`
			Restored *time.Time  `json:"restored"` // when a backup last passed a restore test
			Free     *int64      `json:"free_bytes"`
			Last     *backup.Run `json:"last_run"`

			Unfinished []backup.UnfinishedRestore `json:"unfinished_restores,omitempty"`
		}{Unfinished: s.Unfinished, OK: failure == nil, Good: s.Count, Suspect: s.Suspect, Damaged: s.Damaged, Last: s.Last}
		if failure != nil {
			out.Error = failure.Error()
		}
		if !s.Restored.IsZero() {
			out.Restored = &s.Restored
		}
		if s.Free >= 0 {
			out.Free = &s.Free
		}
		if s.Newest != nil {
			e := toJSON(*s.Newest)
			out.Newest = &e
		}
		c.printJSON(out)
		return failure
	}
	if failure != nil {
		return failure
	}
	fmt.Fprintf(c.Stdout, "good: %s, %s; %d good, %d suspect, %d damaged\n", s.Newest.ID, ago(s.Newest.Time()), s.Count, s.Suspect, s.Damaged)
	if !s.Restored.IsZero() {
		fmt.Fprintf(c.Stdout, "last proven by a restore %s\n", ago(s.Restored))
	}
	if s.Last != nil && !s.Last.OK {
		fmt.Fprintf(c.Stdout, "the last run failed at %s: %s\n", s.Last.Stage, strings.TrimPrefix(s.Last.Error, "backup: "))
	}
	return nil
}
