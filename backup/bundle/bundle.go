// Package bundle combines several sources in one backup with one manifest: a database and a
// folder of files, or all databases of a server.
package bundle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// Part is one of the sources of a bundle.
type Part struct {
	// Name is the prefix of the names of its tables, as in "uploads/files".
	Name string
	// Source dumps and restores the part. Required.
	Source driver.Source
}

// Options configure [NewEach], a bundle whose parts are listed at each run.
type Options struct {
	// Database is the name of the bundle in lists. Default: "all".
	Database string
	// List returns the names of the parts.
	List func(ctx context.Context) ([]string, error)
	// Open returns the source of a part, which need not exist yet.
	Open func(name string) (driver.Source, error)
	// Lock keeps other runs out, as [driver.Abilities].Lock does. Default: no lock.
	Lock func(ctx context.Context, job string) (unlock func() error, err error)
}

// Source is a [driver.Source] of several parts. It dumps them one after the other, in their
// order. Each part is consistent in itself, but different parts are from different times.
// Put a database before the folder of the files that its rows name. Each file is then in
// the backup, unless it was deleted during the dump.
//
// Tables are named "part/table". In [driver.RestoreOptions].Tables, the name "part/" means
// a whole part. The target of a restore lists a target for each part, as in
// "database=shop_copy,uploads=/srv/copy". A part that is not in the list chooses its own
// target. A list with "*=*_copy" appends "_copy" to the name of each other part.
//
// The dump is a tar archive. A long part is stored in pieces with the same name, which "tar
// -xOf" joins. A Source is safe for concurrent use.
type Source struct {
	opts  Options
	parts []Part // nil for a bundle whose parts are listed at each run
}

// New returns a source with a fixed list of parts.
func New(parts ...Part) (*Source, error) {
	if len(parts) == 0 {
		return nil, errors.New("backup: bundle.New needs a part")
	}
	s := &Source{parts: parts}
	var names []string
	sources := make(map[string]driver.Source)
	for _, p := range parts {
		if p.Source == nil || p.Name == "" || strings.ContainsAny(p.Name, "/=,*%") {
			return nil, fmt.Errorf("backup: a part of a bundle needs a source, and a name without any of / = , * %%, which %q is not", p.Name)
		}
		if sources[p.Name] != nil {
			return nil, fmt.Errorf("backup: two parts of a bundle are called %q", p.Name)
		}
		sources[p.Name] = p.Source
		names = append(names, p.Name)
	}
	s.opts = Options{
		Database: strings.Join(names, "+"),
		List:     func(context.Context) ([]string, error) { return names, nil },
		Open: func(name string) (driver.Source, error) {
			if source := sources[name]; source != nil {
				return source, nil
			}
			return nil, fmt.Errorf("backup: this bundle has no part %q", name)
		},
		Lock: s.lockAll,
	}
	return s, nil
}

// NewEach returns a source whose parts are listed at each run. It cannot overwrite. Restore
// single parts beside the originals.
func NewEach(o Options) (*Source, error) {
	if o.List == nil || o.Open == nil {
		return nil, errors.New("backup: bundle.NewEach needs List and Open")
	}
	o.Database = cmp.Or(o.Database, "all")
	return &Source{opts: o}, nil
}

// Describe returns the engine and the name of the source.
func (s *Source) Describe() driver.Description {
	return driver.Description{Engine: "bundle", Extension: ".tar", Database: s.opts.Database}
}

// Abilities returns the optional functions of the source. It can restore, test and
// overwrite if all of its parts can.
func (s *Source) Abilities() driver.Abilities {
	able := driver.Abilities{
		Preflight: s.preflight, Lock: s.opts.Lock, Accounts: s.accounts, Restore: s.Restore, Discard: s.discard, Leftover: s.leftover,
		Test: s.Test, SweepTests: s.sweepTests,
	}
	if s.parts == nil {
		return able
	}
	able.Original, able.Overwrite = s.original, s.Overwrite
	able.Exclude = func(folder string) {
		for _, p := range s.parts {
			if exclude := p.Source.Abilities().Exclude; exclude != nil {
				exclude(folder)
			}
		}
	}
	tested := false
	for _, p := range s.parts {
		a := p.Source.Abilities()
		tested = tested || a.Test != nil
		if a.Restore == nil {
			able.Restore = nil
		}
		if a.Overwrite == nil {
			able.Original, able.Overwrite = nil, nil
		}
	}
	if !tested {
		able.Test, able.SweepTests = nil, nil
	}
	return able
}

// each calls do for each part that exists now.
func (s *Source) each(ctx context.Context, do func(name string, source driver.Source) error) error {
	names, err := s.opts.List(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		source, err := s.opts.Open(name)
		if err == nil {
			err = do(name, source)
		}
		if err != nil {
			return named(name, err)
		}
	}
	return nil
}

// named adds the name of the part to an error.
func named(name string, err error) error {
	return &partError{fmt.Sprintf("backup: %s: %s", name, strings.TrimPrefix(err.Error(), "backup: ")), err}
}

// without adds to the error of a part how the others can be backed up without it.
func (s *Source) without(err error) error {
	var part *partError
	if s.parts != nil || errors.Is(err, driver.ErrTransient) || !errors.As(err, &part) {
		return err
	}
	return &partError{part.text + " (nothing was backed up; to do without this part, use bundle.NewEach with a List that leaves it out)", err}
}

type partError struct {
	text string
	err  error
}

func (e *partError) Error() string { return e.text }
func (e *partError) Unwrap() error { return e.err }

func (s *Source) preflight(ctx context.Context) (warnings []string, err error) {
	err = s.each(ctx, func(name string, source driver.Source) error {
		check := source.Abilities().Preflight
		if check == nil {
			return nil
		}
		found, err := check(ctx)
		for _, w := range found {
			warnings = append(warnings, name+": "+w)
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		err = s.without(err)
	}
	return warnings, err
}

func (s *Source) accounts(ctx context.Context, w io.Writer) (c driver.Contents, err error) {
	return c, s.each(ctx, func(name string, source driver.Source) error {
		write := source.Abilities().Accounts
		if write == nil {
			return nil
		}
		if _, err := fmt.Fprintf(w, "-- Part %s\n", strings.ReplaceAll(name, "\n", " ")); err != nil {
			return err
		}
		got, err := write(ctx, w)
		for _, warning := range got.Warnings {
			c.Warnings = append(c.Warnings, name+": "+warning)
		}
		return err
	})
}

func (s *Source) sweepTests(ctx context.Context, before time.Time) (dropped []string, err error) {
	return dropped, s.each(ctx, func(_ string, source driver.Source) error {
		sweep := source.Abilities().SweepTests
		if sweep == nil {
			return nil
		}
		found, err := sweep(ctx, before)
		dropped = append(dropped, found...)
		return err
	})
}

// lockAll takes the locks of all parts.
func (s *Source) lockAll(ctx context.Context, job string) (func() error, error) {
	var held []func() error
	unlock := func() (err error) {
		for i := len(held) - 1; i >= 0; i-- {
			err = errors.Join(err, held[i]())
		}
		return err
	}
	for _, p := range s.parts {
		lock := p.Source.Abilities().Lock
		if lock == nil {
			continue
		}
		one, err := lock(ctx, job)
		if err != nil {
			return nil, errors.Join(named(p.Name, err), unlock())
		}
		held = append(held, one)
	}
	return unlock, nil
}
