package bundle

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// restoring is the state of a running restore of a bundle.
type restoring struct {
	s       *Source
	in      *archive
	o       driver.RestoreOptions
	targets map[string]string
	got     driver.Contents
}

func (s *Source) begin(r io.Reader, o driver.RestoreOptions) (*restoring, error) {
	if len(o.Want.Parts) == 0 {
		return nil, errors.New("backup: the manifest lists no parts: this is the backup of another source")
	}
	targets, err := parseTargets(o.Target)
	if err != nil {
		return nil, err
	}
	for name := range targets {
		if name != "*" && !slices.ContainsFunc(o.Want.Parts, func(p driver.Part) bool { return p.Name == name }) {
			return nil, fmt.Errorf("backup: the backup has no part %q", name)
		}
	}
	return &restoring{s: s, in: &archive{from: tar.NewReader(r)}, o: o, targets: targets}, nil
}

// parseTargets reads "part=target,part=target".
func parseTargets(text string) (map[string]string, error) {
	targets := make(map[string]string)
	if text == "" {
		return targets, nil
	}
	for _, one := range strings.Split(text, ",") {
		name, target, found := strings.Cut(one, "=")
		if !found || name == "" || target == "" || targets[name] != "" {
			return nil, fmt.Errorf("backup: %q names no target of a part: give them as PART=TARGET,PART=TARGET, or *=*_copy", one)
		}
		targets[name] = target
	}
	return targets, nil
}

// part says what to restore from one part.
type part struct {
	name   string
	source driver.Source
	able   driver.Abilities
	in     *partReader
	o      driver.RestoreOptions
	wanted bool
}

func (r *restoring) part(name string) (part, error) {
	source, err := r.s.opts.Open(name)
	if err != nil {
		return part{}, err
	}
	p := part{name: name, source: source, able: source.Abilities(), in: r.in.part(entryName(name, source)), wanted: len(r.o.Tables) == 0}
	p.o.Want = partOf(r.o.Want, name)
	if creates := r.o.Creates; creates != nil {
		p.o.Creates = func(ctx context.Context, target string) error {
			if target != "" {
				target = name + "=" + target
			}
			return creates(ctx, target)
		}
	}
	p.o.Target = r.targets[name]
	if pattern := r.targets["*"]; p.o.Target == "" && pattern != "" {
		p.o.Target = strings.ReplaceAll(pattern, "*", name)
	}
	for _, t := range r.o.Tables {
		table, is := strings.CutPrefix(t, name+"/")
		switch {
		case !is:
		case table == "": // the whole part
			p.wanted, p.o.Tables = true, nil
			return p, nil
		default:
			p.wanted, p.o.Tables = true, append(p.o.Tables, table)
			p.o.Want.Views, p.o.Want.Triggers, p.o.Want.Routines, p.o.Want.Events = 0, 0, 0, 0
		}
	}
	return p, nil
}

// each restores the wanted parts with do, and skips the others.
func (r *restoring) each(from int, do func(p part) error) error {
	for _, listed := range r.o.Want.Parts[from:] {
		p, err := r.part(listed.Name)
		if err == nil && p.wanted {
			err = do(p)
		}
		if err == nil {
			err = p.in.rest()
		}
		if err != nil {
			return named(listed.Name, err)
		}
	}
	return r.in.end()
}

// original returns the name of the first part. It asks each part, so that a part that cannot be
// replaced is known before another one is.
func (s *Source) original(ctx context.Context) (string, error) {
	first := ""
	for i, p := range s.parts {
		name, err := p.Source.Abilities().Original(ctx)
		if err != nil {
			return "", named(p.Name, err)
		}
		if i == 0 {
			first = name
		}
	}
	return first, nil
}

// Restore restores each part beside its original.
func (s *Source) Restore(ctx context.Context, from io.Reader, o driver.RestoreOptions) (string, driver.Contents, error) {
	r, err := s.begin(from, o)
	if err != nil {
		return "", driver.Contents{}, err
	}
	var targets []string
	undo := func() error { return nil }
	err = r.each(0, func(p part) error {
		if p.able.Restore == nil {
			return errors.New("backup: its source cannot restore")
		}
		target, got, err := p.able.Restore(ctx, p.in, p.o)
		if err != nil {
			return err
		}
		targets = append(targets, p.name+"="+target)
		before := undo
		undo = func() error { return errors.Join(discard(context.WithoutCancel(ctx), p, target), before()) }
		add(&r.got, p.name, got)
		return nil
	})
	if err != nil {
		return "", driver.Contents{}, errors.Join(err, undo())
	}
	return strings.Join(targets, ","), r.got, nil
}

// discard removes restored parts, by their names as Restore returns them.
func (s *Source) discard(ctx context.Context, targets string) error {
	parts, err := parseTargets(targets)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		source, err := s.opts.Open(name)
		if err == nil {
			err = discard(ctx, part{name: name, able: source.Abilities()}, parts[name])
		}
		if err != nil {
			return named(name, err)
		}
	}
	return nil
}

// leftover reports whether restores of the parts chose the names of all targets themselves.
func (s *Source) leftover(ctx context.Context, targets string) bool {
	parts, err := parseTargets(targets)
	if err != nil {
		return false
	}
	for name, target := range parts {
		source, err := s.opts.Open(name)
		if err != nil {
			return false
		}
		able := source.Abilities()
		switch {
		case able.Leftover != nil:
			if !able.Leftover(ctx, target) {
				return false
			}
		case able.Original == nil:
			return false
		default:
			original, err := able.Original(ctx)
			if err != nil || !server.Leftover(original, target) {
				return false
			}
		}
	}
	return len(parts) > 0
}

// discard removes a restored part.
func discard(ctx context.Context, p part, target string) error {
	if p.able.Discard == nil {
		return fmt.Errorf("backup: %s, which was restored before, is still there: drop it", target)
	}
	return p.able.Discard(ctx, target)
}

// Test tests each part that can be tested, and reads the others to their end. The
// assertions run in the first part. It is dropped after all others have been tested.
func (s *Source) Test(ctx context.Context, from io.Reader, o driver.RestoreOptions, use func(ctx context.Context, db driver.Queryer, got driver.Contents) error) error {
	o.Target = ""
	r, err := s.begin(from, o)
	if err != nil {
		return err
	}
	first, err := r.part(o.Want.Parts[0].Name)
	if err != nil {
		return err
	}
	if first.able.Test == nil {
		return fmt.Errorf("backup: the first part, %s, cannot be restored into a scratch database: put a database first", first.name)
	}
	return first.able.Test(ctx, first.in, first.o, func(ctx context.Context, db driver.Queryer, got driver.Contents) error {
		add(&r.got, first.name, got)
		if err := first.in.rest(); err != nil {
			return named(first.name, err)
		}
		err := r.each(1, func(p part) error {
			if p.able.Test == nil {
				add(&r.got, p.name, p.o.Want)
				return nil
			}
			err := p.able.Test(ctx, p.in, p.o, func(_ context.Context, _ driver.Queryer, got driver.Contents) error {
				add(&r.got, p.name, got)
				return nil
			})
			if err != nil && !p.in.started {
				err = errors.Join(driver.ErrUntested, err)
			}
			return err
		})
		if err != nil {
			return err
		}
		return use(ctx, db, r.got)
	})
}

// Overwrite replaces the originals of all parts. First it restores each part beside its
// original and compares it there. Then it replaces the originals, the last part first. A part
// that cannot be restored therefore leaves all originals unchanged.
func (s *Source) Overwrite(ctx context.Context, from io.Reader, o driver.RestoreOptions) (driver.Contents, error) {
	o.Target = ""
	r, err := s.begin(from, o)
	if err != nil {
		return driver.Contents{}, err
	}
	x := exchange{restoring: r, got: make([]*driver.Contents, len(o.Want.Parts))}
	err = x.from(ctx, 0)
	if err != nil && len(x.replaced) > 0 && !errors.Is(err, driver.ErrHalfway) {
		err = fmt.Errorf("%w: %s was replaced, and another part was not: %w", driver.ErrHalfway, strings.Join(x.replaced, ", "), err)
	}
	for i, part := range o.Want.Parts {
		if x.got[i] != nil {
			add(&r.got, part.Name, *x.got[i])
		}
	}
	return r.got, err
}

// exchange is the state of an overwriting restore.
type exchange struct {
	*restoring
	got      []*driver.Contents // of each part that was replaced
	replaced []string
}

// from overwrites the parts from the one with this index. Each part waits in its Touch, which
// it calls before its first change, until the parts after it are replaced.
func (x *exchange) from(ctx context.Context, i int) error {
	if i == len(x.got) {
		if err := x.in.end(); err != nil || x.o.Touch == nil {
			return err
		}
		return x.o.Touch(ctx)
	}
	name := x.o.Want.Parts[i].Name
	p, err := x.part(name)
	if err != nil {
		return named(name, err)
	}
	rest := func(ctx context.Context) error {
		if err := p.in.rest(); err != nil {
			return named(name, err)
		}
		return x.from(ctx, i+1)
	}
	if !p.wanted {
		return rest(ctx)
	}
	called := false
	var later error // of the parts after this one
	p.o.Touch = func(ctx context.Context) error {
		if !called {
			called = true
			later = rest(ctx)
		}
		return later
	}
	got, err := p.able.Overwrite(ctx, p.in, p.o)
	if err == nil {
		x.got[i], x.replaced = &got, append(x.replaced, name)
		err = p.o.Touch(ctx) // a source that had nothing to change has not called it
	}
	switch {
	case later != nil && errors.Is(err, driver.ErrLeft):
		return errors.Join(later, named(name, err))
	case later != nil:
		return later
	case err != nil:
		return named(name, err)
	}
	return nil
}
