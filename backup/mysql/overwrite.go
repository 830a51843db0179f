package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Overwrite restores the dump into a second database and verifies it there. Then one RENAME
// TABLE statement swaps the tables and sequences of both. There is no such statement for
// views, triggers, routines and events. They are dropped before the swap and created again
// after it, with the rights on single routines. If that fails, everything is restored to
// its previous state. If this fails too, the error wraps [driver.ErrHalfway].
//
// With RestoreOptions.Tables, only these tables are swapped. They keep their present
// triggers.
func (m *Source) Overwrite(ctx context.Context, r io.Reader, o driver.RestoreOptions) (driver.Contents, error) {
	now := time.Now()
	second := server.ScratchName(m.database, now)
	// This database is never swept. After a kill it may hold the only copy of the tables.
	at := strings.LastIndex(second, "_scratch_")
	before := second[:at] + "_replaced_" + second[at+len("_scratch_"):]
	tables, touch := o.Tables, o.Touch
	o.Target, o.Tables, o.Touch = second, tables, nil
	job := &restoring{m: m, target: second, o: o, strict: true}
	if err := job.run(ctx, r); err != nil {
		return driver.Contents{}, err
	}
	x := &exchange{m: m, second: second, before: before, only: tables, events: job.events, restored: job.dump, creating: o.Creating}
	err := x.run(ctx, touch)
	late := context.WithoutCancel(ctx)
	if err != nil {
		return job.got, errors.Join(err, server.Left(m.drop(late, second)))
	}
	got := job.got
	got.Warnings = slices.DeleteFunc(got.Warnings, func(w string) bool { return strings.HasSuffix(w, "where they are to run") })
	got.Warnings = append(got.Warnings, x.warnings...)
	for _, name := range []string{second, before} {
		if err := m.drop(late, name); err != nil {
			got.Warnings = append(got.Warnings, fmt.Sprintf("the database %s, which the restore needed, is still there: drop it", name))
		}
	}
	server.DropIdle(m.db)
	return got, nil
}

// exchange replaces the tables of one database with those of another.
type exchange struct {
	m              *Source
	s              session
	second, before string
	creating       func(ctx context.Context, name string) error
	only           []string
	mariadb, fold  bool
	events         map[string]string // states of the events in the dump
	restored       driver.Contents

	old, fresh       inventory
	oldDefinitions   []definition
	freshDefinitions []definition
	doomed           []definition // views that do not work and have the name of a restored object
	grants           []string
	warnings         []string
	charset          [2]string // of the original
}

func (x *exchange) run(ctx context.Context, touch func(context.Context) error) (err error) {
	m := x.m
	on, err := m.server(ctx)
	if err != nil {
		return err
	}
	x.mariadb, x.fold = on.mariadb(), on.fold
	if x.old, err = m.inventory(ctx, m.database); err != nil {
		return err
	}
	if x.fresh, err = m.inventory(ctx, x.second); err != nil {
		return err
	}
	for name, engine := range x.old.engines {
		if engine == fileEngine && (len(x.only) == 0 || slices.Contains(x.only, name)) {
			return fmt.Errorf("backup: the backup does not hold the table %s (%s), and a restore over the original would delete its file: move it to another database, or restore beside", name, engine)
		}
	}
	if err := x.referenced(ctx); err != nil {
		return err
	}
	broken, err := m.brokenViews(ctx, x.old.views)
	if err != nil {
		return err
	}
	if x.oldDefinitions, err = m.definitionsOf(ctx, on, m.database, broken); err != nil {
		return err
	}
	if x.freshDefinitions, err = m.definitionsOf(ctx, on, x.second, nil); err != nil {
		return err
	}
	for view := range broken { // left by an interrupted restore, or broken long ago
		_, table := x.fresh.tables[view]
		_, other := x.fresh.objects["view "+view]
		if (table || other) && len(x.only) == 0 {
			x.doomed = append(x.doomed, definition{kind: kindView, object: "view " + view, mark: mark{Name: view}})
		}
	}
	if len(x.only) > 0 { // the present triggers of the tables stay
		x.oldDefinitions = slices.DeleteFunc(x.oldDefinitions, func(d definition) bool {
			return d.kind != kindTrigger || !slices.Contains(x.only, d.mark.Table)
		})
		x.freshDefinitions = x.oldDefinitions
	}
	for i := range x.freshDefinitions {
		if d := &x.freshDefinitions[i]; d.kind == kindEvent {
			d.mark.Status = x.events[d.mark.Name]
		}
	}
	x.grants = m.routineGrants(ctx)
	if x.s, err = m.open(ctx, m.database); err != nil {
		return err
	}
	defer x.s.end()
	if x.charset[0], x.charset[1], err = m.defaults(ctx, x.s, m.database); err != nil {
		return err
	}
	if err := x.creating(ctx, x.before); err != nil {
		return err
	}
	if err := m.exec(ctx, "CREATE DATABASE "+quote(x.before)+" CHARACTER SET "+x.charset[0]+" COLLATE "+x.charset[1]); err != nil {
		return fmt.Errorf("backup: create the database %q for what is there now: %w", x.before, err)
	}
	if touch != nil {
		err = touch(ctx)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return errors.Join(err, server.Left(m.drop(context.WithoutCancel(ctx), x.before)))
	}
	ctx = context.WithoutCancel(ctx) // finish the change from here on
	if err = x.replace(ctx); err != nil {
		if back := x.putBack(ctx); back != nil {
			return fmt.Errorf("%w: %w; its tables are in the database %s: %w", driver.ErrHalfway, err, x.before, back)
		}
		err = errors.Join(err, server.Left(m.drop(ctx, x.before)))
	}
	return err
}

// referenced rejects tables that remaining tables refer to by a foreign key. The key would
// move with the replaced table.
func (x *exchange) referenced(ctx context.Context) error {
	for _, name := range x.only {
		if _, there := x.old.tables[name]; !there {
			return fmt.Errorf("backup: the database has no table %s any more: restore it beside, and RENAME TABLE", name)
		}
	}
	var refused []string
	err := x.m.each(ctx, `SELECT UNIQUE_CONSTRAINT_SCHEMA, CONSTRAINT_SCHEMA, TABLE_NAME, REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS
		WHERE UNIQUE_CONSTRAINT_SCHEMA = ? ORDER BY 2, 3`, ofSchema(x.m.database, x.fold, func(r []string) {
		inside := r[0] == x.m.database || x.fold && strings.EqualFold(r[0], x.m.database)
		switch {
		case len(x.only) == 0 && inside, len(x.only) > 0 && !slices.Contains(x.only, r[2]), inside && slices.Contains(x.only, r[1]):
			return
		}
		by := r[1]
		if !inside {
			by = r[0] + "." + r[1]
		}
		refused = append(refused, by+" refers to the table "+r[2])
	}), x.m.database)
	if err != nil {
		return fmt.Errorf("backup: ask for foreign keys: %w", err)
	}
	if len(refused) > 0 {
		return fmt.Errorf("backup: %s by a foreign key, which would not refer to the restored table: drop the key, or restore beside and copy the rows", server.ShortList(refused))
	}
	return nil
}

// exchanged returns the tables and sequences of an inventory that are swapped.
func (x *exchange) exchanged(inv inventory) []string {
	if len(x.only) > 0 {
		return x.only
	}
	names := slices.Collect(maps.Keys(inv.tables))
	for object := range inv.objects {
		if name, is := strings.CutPrefix(object, "sequence "); is {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// replace carries out the change.
func (x *exchange) replace(ctx context.Context) error {
	if err := x.dropDefinitions(ctx, slices.Concat(x.doomed, x.oldDefinitions), x.freshDefinitions); err != nil {
		return err
	}
	aside, err := x.m.open(ctx, x.second)
	if err != nil {
		return err
	}
	defer aside.end()
	for _, d := range x.freshDefinitions {
		if d.kind == kindTrigger && len(x.only) == 0 { // a table with triggers cannot move to another database
			if err := aside.exec(ctx, "DROP TRIGGER IF EXISTS "+quote(d.mark.Name)); err != nil {
				return fmt.Errorf("backup: drop the trigger %s of the copy: %w", d.mark.Name, err)
			}
		}
	}
	var moves []string
	for _, name := range x.exchanged(x.old) {
		moves = append(moves, quote(x.m.database)+"."+quote(name)+" TO "+quote(x.before)+"."+quote(name))
	}
	for _, name := range x.exchanged(x.fresh) {
		moves = append(moves, quote(x.second)+"."+quote(name)+" TO "+quote(x.m.database)+"."+quote(name))
	}
	if len(moves) > 0 {
		if err := x.s.exec(ctx, "RENAME TABLE "+strings.Join(moves, ", ")); err != nil {
			return fmt.Errorf("backup: exchange the tables: %w", err)
		}
	}
	if c, l := x.restored.Settings["charset"], x.restored.Settings["collation"]; len(x.only) == 0 && l != x.charset[1] && charsetName.MatchString(c) && charsetName.MatchString(l) {
		if err := x.s.exec(ctx, "ALTER DATABASE CHARACTER SET "+c+" COLLATE "+l); err != nil {
			return fmt.Errorf("backup: give the database its character set: %w", err)
		}
	}
	if err := x.ownSequences(ctx); err != nil {
		return err
	}
	return x.define(ctx, x.freshDefinitions)
}

// ownSequences changes column defaults to use the sequence in the original database. RENAME
// TABLE does not change them.
func (x *exchange) ownSequences(ctx context.Context) error {
	changes := make(map[string][]string) // by table: the server opens it with all of its defaults
	err := eachRow(ctx, x.s, `SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_DEFAULT FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND COLUMN_DEFAULT LIKE '%val(%'`, ofSchema(x.m.database, x.fold, func(r []string) {
		own, _ := unqualify([]byte(r[2]), x.second, x.fold, "")
		if _, table := x.fresh.tables[r[0]]; table && string(own) != r[2] {
			changes[r[0]] = append(changes[r[0]], "ALTER COLUMN "+quote(r[1])+" SET DEFAULT ("+string(own)+")")
		}
	}), x.m.database)
	if err != nil {
		return fmt.Errorf("backup: ask for defaults from sequences: %w", err)
	}
	for _, table := range slices.Sorted(maps.Keys(changes)) {
		if err := x.s.exec(ctx, "ALTER TABLE "+quote(table)+" "+strings.Join(changes[table], ", ")); err != nil {
			return fmt.Errorf("backup: give a default of the table %s its sequence: %w", table, err)
		}
	}
	return nil
}

// putBack undoes a complete or partial replace.
func (x *exchange) putBack(ctx context.Context) error {
	moved, err := x.m.inventory(ctx, x.before)
	if err != nil {
		return err
	}
	if err := x.dropDefinitions(ctx, x.freshDefinitions, x.oldDefinitions); err != nil {
		return err
	}
	if len(moved.tables)+len(moved.objects) > 0 {
		var moves []string
		for _, name := range x.exchanged(x.fresh) {
			moves = append(moves, quote(x.m.database)+"."+quote(name)+" TO "+quote(x.second)+"."+quote(name))
		}
		for _, name := range x.exchanged(x.old) {
			moves = append(moves, quote(x.before)+"."+quote(name)+" TO "+quote(x.m.database)+"."+quote(name))
		}
		if err := x.s.exec(ctx, "RENAME TABLE "+strings.Join(moves, ", ")); err != nil {
			return fmt.Errorf("put the tables back: %w", err)
		}
	}
	if err := x.s.exec(ctx, "ALTER DATABASE CHARACTER SET "+x.charset[0]+" COLLATE "+x.charset[1]); err != nil {
		return err
	}
	if err := x.dropDefinitions(ctx, x.oldDefinitions, x.oldDefinitions); err != nil {
		return err
	}
	return x.define(ctx, x.oldDefinitions)
}
