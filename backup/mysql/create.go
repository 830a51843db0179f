package mysql

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// create creates the database, or uses an existing empty one that the caller named.
func (r *restoring) create(ctx context.Context) error {
	like := ""
	if c, l := r.o.Want.Settings["charset"], r.o.Want.Settings["collation"]; charsetName.MatchString(c) && charsetName.MatchString(l) {
		like = " CHARACTER SET " + c + " COLLATE " + l
	}
	// Another process may create it between the two statements. Then the second one fails.
	there := false
	err := r.m.each(ctx, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?",
		ofSchema(r.target, r.server.fold, func([]string) { there = true }), r.target)
	if err == nil && there && r.o.Target != "" {
		inv, listed := r.m.inventory(ctx, r.target)
		if listed == nil && len(inv.tables)+len(inv.objects)+len(inv.broken) == 0 {
			return r.o.Creating(ctx, "")
		}
	}
	if err == nil && !there {
		if err = r.o.Creating(ctx, r.target); err != nil {
			return err
		}
	}
	if err == nil {
		err = r.m.exec(ctx, "CREATE DATABASE "+quote(r.target)+like)
	}
	if err == nil {
		r.created = true
		return nil
	}
	return fmt.Errorf("backup: create the database %q (a restore goes into a new database, or an empty one): %w", r.target, err)
}

// remove undoes a failed restore.
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

// dropObjects drops the objects in the database of a session, with or without its tables and
// sequences.
func dropObjects(ctx context.Context, s session, inv inventory, tables bool) error {
	for object := range inv.objects {
		kind, name, _ := strings.Cut(object, " ")
		kind = strings.ReplaceAll(kind, "-", " ")
		if kind == "sequence" && !tables {
			continue
		}
		if kind == "package body" {
			continue // dropped with its package
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
