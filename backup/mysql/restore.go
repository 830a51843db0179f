package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Restore reads a dump into a new database of the server, or into an existing empty one that
// is named as the target, and compares every table with the dump: its rows and a digest of
// their values. Without a target the name is that of the original and the time. No statement
// names the original. Events arrive disabled. An object that this account may not create for
// its definer belongs to this account afterwards; a warning names it.
func (m *Source) Restore(ctx context.Context, r io.Reader, o driver.RestoreOptions) (string, driver.Contents, error) {
	target := o.Target
	if target == "" { // a name has 64 characters
		target = fmt.Sprintf("%.40s_restore_%s", m.database, time.Now().UTC().Format("20060102t150405"))
	}
	if target == m.database && o.Target == "" {
		return "", driver.Contents{}, errors.New("backup: name a target")
	}
	job := &restoring{m: m, target: target, o: o}
	err := job.run(ctx, r)
	if err != nil {
		return "", driver.Contents{}, err
	}
	return target, job.got, nil
}

// restoring is a restore under way.
type restoring struct {
	m      *Source
	target string
	o      driver.RestoreOptions
	// strict fails where an object could not be given to its definer.
	strict bool

	s       session
	server  serverInfo
	created bool // the database, by this restore
	dump    driver.Contents
	got     driver.Contents
	events  map[string]string // the states that they had
	changed []string          // objects with another definer than in the dump
	lost    map[string]bool   // definers that this server does not know
	views   []statement       // that wait for others
	check   *checking

	charset, collation string // of the database, once they are known
}

// run restores. When it fails nothing is left behind.
func (r *restoring) run(ctx context.Context, from io.Reader) (err error) {
	if r.server, err = r.m.server(ctx); err != nil {
		return err
	}
	if err := r.create(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.remove(context.WithoutCancel(ctx)))
		}
	}()
	if r.s, err = r.m.open(ctx, r.target); err != nil {
		return err
	}
	defer r.s.end()
	if r.check, err = r.m.check(ctx, r.target); err != nil {
		return err
	}
	err = r.read(ctx, newDumpReader(from))
	tables, failed := r.check.end()
	if err == nil {
		err = failed
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	return r.compare(ctx, tables)
}

// create makes the database, or takes an empty one that the caller has named.
func (r *restoring) create(ctx context.Context) error {
	like := ""
	if c, l := r.o.Want.Settings["charset"], r.o.Want.Settings["collation"]; charsetName.MatchString(c) && charsetName.MatchString(l) {
		like = " CHARACTER SET " + c + " COLLATE " + l
	}
	_, err := r.m.db.ExecContext(ctx, "CREATE DATABASE "+quote(r.target)+like)
	if err == nil {
		r.created = true
		return nil
	}
	if r.o.Target != "" {
		inv, listed := takeInventory(ctx, r.m.db, r.target, r.m.opts.QueryTimeout)
		var there int
		_ = r.m.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?", r.target).Scan(&there)
		if listed == nil && there == 1 && len(inv.tables)+len(inv.objects)+len(inv.broken) == 0 {
			return nil
		}
	}
	return fmt.Errorf("backup: create the database %q (a restore goes into a new database, or an empty one): %w", r.target, err)
}

// remove undoes what a restore that failed has made.
func (r *restoring) remove(ctx context.Context) error {
	if r.created {
		return r.m.drop(ctx, r.target)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	s, err := r.m.open(ctx, r.target)
	if err != nil {
		return err
	}
	defer s.end()
	inv, err := takeInventory(ctx, s, r.target, r.m.opts.QueryTimeout)
	if err != nil {
		return err
	}
	return dropObjects(ctx, s, inv, true)
}

// dropObjects drops what is in the database of a session, with or without its tables and
// sequences.
func dropObjects(ctx context.Context, s session, inv inventory, tables bool) error {
	for object := range inv.objects {
		kind, name, _ := strings.Cut(object, " ")
		kind = strings.ReplaceAll(kind, "-", " ")
		if kind == "sequence" && !tables {
			continue
		}
		if kind == "package body" {
			continue // goes with its package
		}
		if err := s.drop(ctx, kind, name); err != nil {
			return err
		}
	}
	if !tables {
		return nil
	}
	for name := range inv.tables {
		if err := s.exec(ctx, "DROP TABLE IF EXISTS "+quote(name)); err != nil {
			return fmt.Errorf("backup: drop the table %s: %w", name, err)
		}
	}
	return nil
}

// commitEvery is how many statements with rows one transaction takes.
const commitEvery = 32

// read executes the statements of a dump.
func (r *restoring) read(ctx context.Context, from *dumpReader) error {
	r.events, r.lost = make(map[string]string), make(map[string]bool)
	if err := r.s.exec(ctx, "SET autocommit = 0"); err != nil {
		return fmt.Errorf("backup: prepare a session: %w", err)
	}
	table, inserts := "", 0
	done := func() error { // with the table
		if table == "" {
			return nil
		}
		if err := r.s.exec(ctx, "COMMIT"); err != nil {
			return restoreError(kindRows, table, err)
		}
		err := r.check.table(ctx, table)
		table, inserts = "", 0
		return err
	}
	complete := false
	for {
		st, err := from.next(r.skip)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if st.kind != kindRows && st.kind != kindSession {
			if err := done(); err != nil {
				return err
			}
		}
		if st.kind != kindView {
			if err := r.waitingViews(ctx, st.kind == kindEnd); err != nil {
				return err
			}
		}
		if st.text == nil {
			continue
		}
		switch st.kind {
		case kindDatabase, kindSequence:
			err = restoreError(st.kind, st.Name, r.s.exec(ctx, string(st.text)))
		case kindTable:
			table = st.Name
			err = restoreError(st.kind, st.Name, r.s.exec(ctx, string(st.text)))
		case kindRows:
			if err = restoreError(st.kind, st.Name, r.s.exec(ctx, string(st.text))); err == nil {
				if inserts++; inserts%commitEvery == 0 {
					err = restoreError(st.kind, st.Name, r.s.exec(ctx, "COMMIT"))
				}
			}
		case kindView:
			if err = r.define(ctx, &st); errorCode(err) == codeNoTable || errorCode(err) == codeViewInvalid {
				st.text = slices.Clone(st.text)
				r.views, err = append(r.views, st), nil
			}
		case kindRoutine, kindTrigger, kindEvent:
			err = r.define(ctx, &st)
		case kindEnd:
			text := strings.TrimSuffix(strings.TrimPrefix(string(st.text), "/* "), " */")
			if err := json.Unmarshal([]byte(text), &r.dump); err != nil {
				return errCut
			}
			complete = true
		default:
			err = fmt.Errorf("backup: the dump holds a statement of the kind %q, which a newer version of this package has written", st.kind)
		}
		if err != nil {
			return err
		}
	}
	if !complete {
		return errCut
	}
	return done()
}

// skip leaves out the settings for client programs, and what was not asked for.
func (r *restoring) skip(kind string, m *mark) bool {
	switch kind {
	case kindSession:
		return true
	case kindTable, kindRows:
		return len(r.o.Tables) > 0 && !slices.Contains(r.o.Tables, m.Name)
	case kindRoutine, kindView, kindTrigger, kindEvent:
		return len(r.o.Tables) > 0
	}
	return false
}

// define creates a view, trigger, routine or event under the settings that it was made with.
func (r *restoring) define(ctx context.Context, st *statement) error {
	object := st.kind + " " + st.Name
	if st.kind == kindEvent {
		r.events[st.Name] = st.Status
	}
	c := st.Settings
	if !c.valid() {
		return errCut
	}
	if err := r.s.exec(ctx, c.set()); err != nil {
		return restoreError(st.kind, st.Name, err)
	}
	if r.charset == "" {
		var err error
		if r.charset, r.collation, err = r.m.defaults(ctx, r.m.db, r.target); err != nil {
			return err
		}
	}
	if c.Database != "" && c.Database != r.collation {
		if err := r.s.exec(ctx, "ALTER DATABASE COLLATE "+c.Database); err != nil {
			return restoreError(st.kind, st.Name, err)
		}
		defer func() {
			_ = r.s.exec(ctx, "ALTER DATABASE CHARACTER SET "+r.charset+" COLLATE "+r.collation) // compared at the end
		}()
	}
	definer := st.Definer
	if other := r.m.opts.Definers[definer]; other != "" {
		definer = other
	}
	err := r.s.exec(ctx, st.by(definer))
	if errorCode(err) == codeNeedsSuper && definer != "" && !r.strict {
		if err = r.s.exec(ctx, st.by("")); err == nil {
			r.changed = append(r.changed, object+" (of "+quoteAccount(definer)+")")
		}
	} else if err == nil && definer != "" {
		r.lost[definer] = true
	}
	return restoreError(st.kind, st.Name, err)
}

// waitingViews creates the views that others were needed for.
func (r *restoring) waitingViews(ctx context.Context, last bool) error {
	for len(r.views) > 0 {
		waiting := r.views
		r.views = nil
		var failed error
		for i := range waiting {
			if err := r.define(ctx, &waiting[i]); err != nil {
				failed = err
				r.views = append(r.views, waiting[i])
			}
		}
		if len(r.views) == len(waiting) {
			if last {
				return failed
			}
			return nil
		}
	}
	return nil
}

// compare holds what was restored against the dump.
func (r *restoring) compare(ctx context.Context, tables []driver.Table) error {
	want := r.dump
	if len(r.o.Tables) > 0 {
		var err error
		if want, err = want.Only(r.o.Tables); err != nil {
			return err
		}
	}
	inv, err := takeInventory(ctx, r.m.db, r.target, r.m.opts.QueryTimeout)
	if err != nil {
		return err
	}
	charset, collation, err := r.m.defaults(ctx, r.m.db, r.target)
	if err != nil {
		return err
	}
	r.got = inv.contents()
	r.got.Tables = tables
	r.got.ServerVersion = r.server.version
	r.got.Settings = map[string]string{"charset": charset, "collation": collation}
	if err := want.Compare(r.got); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	for _, kind := range []struct {
		name      string
		want, got int64
	}{{"views", want.Views, r.got.Views}, {"triggers", want.Triggers, r.got.Triggers}, {"routines", want.Routines, r.got.Routines}, {"events", want.Events, r.got.Events}} {
		if kind.want != kind.got {
			return fmt.Errorf("backup: %w: it has %d %s instead of %d", driver.ErrDiffers, kind.got, kind.name, kind.want)
		}
	}
	if c := r.dump.Settings["collation"]; c != "" && c != collation {
		return fmt.Errorf("backup: %w: its default collation is %s instead of %s", driver.ErrDiffers, collation, c)
	}
	r.warnings(ctx)
	return nil
}

// warnings reports what works differently in the restored database.
func (r *restoring) warnings(ctx context.Context) {
	if len(r.changed) > 0 {
		r.got.Warnings = append(r.got.Warnings, "this account may not create objects of other accounts (GRANT SET USER ON *.* to it, or set mysql.Options.Definers), so that these belong to it now: "+server.ShortList(r.changed))
	}
	var unknown []string
	for definer := range r.lost {
		at := max(strings.LastIndexByte(definer, '@'), 0)
		var n int
		err := r.m.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM mysql.user WHERE User = ? AND Host = ?", definer[:at], strings.TrimPrefix(definer[at:], "@")).Scan(&n)
		if err == nil && n == 0 && at > 0 {
			unknown = append(unknown, quoteAccount(definer))
		}
	}
	slices.Sort(unknown)
	if len(unknown) > 0 {
		r.got.Warnings = append(r.got.Warnings, fmt.Sprintf("views, triggers or routines belong to %s, which this server does not know: they fail until CREATE USER", server.ShortList(unknown)))
	}
	if n := len(r.events); n > 0 {
		r.got.Warnings = append(r.got.Warnings, fmt.Sprintf("the %d events of the restored database are disabled: ALTER EVENT … ENABLE, where they are to run", n))
	}
}

// drop removes a database that this package has created.
func (m *Source) drop(ctx context.Context, database string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if _, err := m.db.ExecContext(ctx, "DROP DATABASE IF EXISTS "+quote(database)); err != nil {
		return fmt.Errorf("backup: drop the database %q: %w", database, err)
	}
	return nil
}

// advice is what to do about errors whose messages do not say it.
var advice = map[int]string{
	1044: "the account may not create or use this database: GRANT ALL on it",
	1153: "a row is larger than the server takes: SET GLOBAL max_allowed_packet = 1073741824, and restore again",
	1180: "if it is because of a unique key, two of its rows are equal by the rules of this server",
	1227: "it belongs to its DEFINER, and this account may not create objects of other accounts: GRANT SET USER ON *.* (MySQL: SET_ANY_DEFINER) to it, or set mysql.Options.Definers",
	1418: "SET GLOBAL log_bin_trust_function_creators = 1, or restore as an administrator",
	1419: "SET GLOBAL log_bin_trust_function_creators = 1, or restore as an administrator",
	1449: "its DEFINER is an account that does not exist: create the account, or set mysql.Options.Definers",
}

var (
	duplicate = regexp.MustCompile(`(?s)^(.*?Duplicate entry) '.*' (for key '[^']*')$`)
	ofColumn  = regexp.MustCompile(`(?s)^(.*?: )'.*' (for column .* at row \d+)$`)
	nearText  = regexp.MustCompile(`(?s)^(.*?)near '.*$`)
)

// restoreError adds the object to an error, and takes the values of rows and the text of
// statements out of it.
func restoreError(kind, name string, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, form := range []*regexp.Regexp{duplicate, ofColumn} {
		text = form.ReplaceAllString(text, "$1 … $2")
	}
	text = nearText.ReplaceAllString(text, "${1}near …")
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "…"
	}
	if kind == kindRows {
		kind = "rows of the table"
	}
	if hint := advice[errorCode(err)]; hint != "" {
		text += " (" + hint + ")"
	}
	return &statementError{fmt.Sprintf("backup: restore the %s %s: %s", kind, name, text), err}
}

// statementError has a text without values; its cause is for errors.As.
type statementError struct {
	text string
	err  error
}

func (e *statementError) Error() string { return e.text }
func (e *statementError) Unwrap() error { return e.err }
