package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Restore reads a dump into a new database of the server, or into an existing empty one
// that is named as the target. It compares the rows of every table, and a digest of their
// values, with the dump. The default target has the name of the original and the time. No
// statement names the original. Events are disabled after a restore. If this account must
// not create an object for its definer, this account becomes the definer, and a warning
// names the object.
func (m *Source) Restore(ctx context.Context, r io.Reader, o driver.RestoreOptions) (string, driver.Contents, error) {
	target := o.Target
	if target == "" { // a name has at most 64 characters
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

// restoring is the state of a running restore.
type restoring struct {
	m      *Source
	target string
	o      driver.RestoreOptions
	// strict makes the restore fail if an object cannot keep its definer.
	strict bool

	s       session
	server  serverInfo
	created bool // this restore created the database
	dump    driver.Contents
	got     driver.Contents
	events  map[string]string // states of the events in the dump
	changed []string          // objects whose definer differs from the dump
	past    []string          // events whose time is over
	// composed are objects whose statements cannot be read.
	composed []string
	lost     map[string]bool // definers that do not exist on this server
	views    []statement     // views that need other views first
	check    *checking

	charset, collation string // of the database, once they are known
}

// run restores. If it fails, it removes the new database.
func (r *restoring) run(ctx context.Context, from io.Reader) (err error) {
	if r.server, err = r.m.server(ctx); err != nil {
		return err
	}
	if err := r.takes(ctx); err != nil {
		return err
	}
	if err := r.create(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, server.Left(r.remove(context.WithoutCancel(ctx))))
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

// commitEvery is the number of row statements in one transaction.
const commitEvery = 32

// read executes the statements of a dump.
func (r *restoring) read(ctx context.Context, from *dumpReader) error {
	r.events, r.lost = make(map[string]string), make(map[string]bool)
	if err := r.s.exec(ctx, "SET autocommit = 0"); err != nil {
		return fmt.Errorf("backup: prepare a session: %w", err)
	}
	table, inserts := "", 0
	done := func() error { // ends the current table
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
		if n := int64(len(st.text)); st.kind != kindEnd && !fits(n, r.server.packet) {
			return tooLong(fmt.Sprintf("a statement for the %s %s", named(st.kind), st.Name), n, r.server.packet)
		}
		switch st.kind {
		case kindDatabase, kindSequence:
			err = restoreError(st.kind, st.Name, r.s.exec(ctx, string(st.text)))
		case kindTable:
			table = st.Name
			text, _ := ownFolder(st.text) // dumps of older versions name the folder
			err = restoreError(st.kind, st.Name, r.s.exec(ctx, string(text)))
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

// skip leaves out the settings for client programs, and objects that were not requested.
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

// define creates a view, trigger, routine or event with the settings under which it was
// created.
func (r *restoring) define(ctx context.Context, st *statement) error {
	object := st.kind + " " + st.Name
	if st.kind == kindEvent {
		r.events[st.Name] = st.Status
	}
	c := st.Settings
	if !c.valid() {
		return errCut
	}
	if st.kind != kindView && composed(st.text, c.Mode) {
		r.composed = append(r.composed, object)
	}
	if err := r.s.exec(ctx, c.set()); err != nil {
		return restoreError(st.kind, st.Name, err)
	}
	if r.charset == "" {
		var err error
		if r.charset, r.collation, err = r.m.defaults(ctx, r.s, r.target); err != nil {
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
	if err == nil && st.kind == kindEvent {
		err = r.pastEvent(ctx, st, definer)
	}
	return restoreError(st.kind, st.Name, err)
}

// pastEvent creates an event whose time is over. The server ignores its definition unless
// the clock of the session is earlier. The event is disabled, because it would run at once.
func (r *restoring) pastEvent(ctx context.Context, st *statement, definer string) error {
	var there bool
	err := r.s.QueryRowContext(ctx, "SELECT COUNT(*) > 0 FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ? AND EVENT_NAME = ?", r.target, st.Name).Scan(&there)
	if err != nil || there {
		return err
	}
	early := *st
	early.text = eventAs(st.text, "DISABLED")
	if err := r.s.exec(ctx, "SET SESSION timestamp = 1"); err != nil {
		return err
	}
	err = r.s.exec(ctx, early.by(definer))
	if errorCode(err) == codeNeedsSuper && !r.strict {
		err = r.s.exec(ctx, early.by(""))
	}
	if err == nil {
		r.past = append(r.past, st.Name)
	}
	return errors.Join(err, r.s.exec(ctx, "SET SESSION timestamp = DEFAULT"))
}

// pastWarning names the events whose time is over.
func (r *restoring) pastWarning() []string {
	if len(r.past) == 0 {
		return nil
	}
	return []string{"the time of these events is over, and they are disabled: " + server.ShortList(r.past)}
}

// waitingViews creates the views that needed other views first.
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

// drop removes a database that this package has created.
func (m *Source) drop(ctx context.Context, database string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := m.exec(ctx, "DROP DATABASE IF EXISTS "+quote(database)); err != nil {
		return fmt.Errorf("backup: drop the database %q: %w", database, err)
	}
	return nil
}
