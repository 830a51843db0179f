package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// copier brings one target up to date.
type copier struct {
	from, to *Job
	opts     Target
	out      TargetOutcome
}

// all sweeps, copies, marks and retains, in this order: nothing is deleted unless all
// that should be there is there.
func (c *copier) all(ctx context.Context, local []Entry) error {
	c.out.Pending = -1
	unlock, err := c.to.lockStorage(ctx)
	if err != nil {
		return err
	}
	defer unlock() //nolint:errcheck // the process's end frees it too
	if _, err := c.to.sweepBefore(ctx, c.to.now().Add(-leftoverAge)); err != nil {
		return err
	}
	held, err := c.to.List(ctx)
	if err != nil {
		return err
	}
	c.note(held)
	// A damaged copy is found first, and then replaced like one that is missing.
	var unread error
	if !c.opts.SkipVerify {
		if _, unread = c.to.scrubShare(ctx, held, c.to.now()); unread != nil {
			if ctx.Err() != nil {
				return unread
			}
			if held, err = c.to.List(ctx); err != nil {
				return errors.Join(unread, err)
			}
		}
	}
	err = c.bring(ctx, local, held)
	if errors.Is(unread, ErrDamaged) {
		after, listErr := c.to.List(ctx)
		if listErr == nil && newest(after, func(e Entry) bool { return e.State == Damaged }) == nil {
			unread = nil // every damaged copy was replaced by a good one
		}
	}
	return errors.Join(unread, err)
}

// bring copies, marks and retains.
func (c *copier) bring(ctx context.Context, local, held []Entry) (err error) {
	wanted := missing(c.to.now(), local, held, c.opts.Retention)
	c.out.Pending = len(wanted)
	failure := c.copyAll(ctx, wanted, held)
	if errors.Is(failure, errTargetFailed) {
		return failure
	}
	if err := c.marks(ctx, local, held); err != nil {
		return errors.Join(failure, err)
	}
	// What the target now lists counts, not what it has answered.
	if held, err = c.to.List(ctx); err != nil {
		return errors.Join(failure, err)
	}
	c.note(held)
	for _, id := range c.out.Copied {
		if e := newest(held, func(e Entry) bool { return e.ID == id }); e == nil || !e.good() {
			return errors.Join(failure, fmt.Errorf("it has said that %s is stored, and does not list it as a good backup", id))
		}
	}
	if failure != nil || c.opts.NoRetention {
		return failure
	}
	decisions, err := plan(c.to.now(), held, c.opts.Retention)
	if err != nil {
		return err
	}
	c.out.Deleted, err = c.to.delete(ctx, decisions)
	return err
}

func (c *copier) note(held []Entry) {
	c.out.Newest = ""
	if e := newest(held, Entry.good); e != nil {
		c.out.Newest = e.ID
	}
}

// missing returns the good backups that a target should hold and does not, the newest
// first: those that its policy would keep if it held all of them.
func missing(now time.Time, local, held []Entry, p Policy) []Entry {
	has := make(map[string]bool, len(held))
	var all []Entry
	for _, e := range held {
		if e.State == Damaged {
			continue // to be replaced, if it is good here
		}
		has[e.ID] = true
		all = append(all, e)
	}
	absent := make(map[string]bool)
	for _, e := range local {
		if e.good() && !has[e.ID] {
			absent[e.ID] = true
			all = append(all, e)
		}
	}
	p.Force = true // nothing is deleted here
	decisions, _ := plan(now, all, p)
	var wanted []Entry
	for _, d := range decisions {
		if d.Keep && absent[d.Entry.ID] {
			wanted = append(wanted, d.Entry)
		}
	}
	return wanted
}

// errTargetFailed marks an error of the target, after which the other copies are not
// tried: each would wait for it anew.
var errTargetFailed = errors.New("the copies that are missing wait for the next run")

// copyAll copies what is wanted. A backup that is wrong here does not keep the others
// from being copied.
func (c *copier) copyAll(ctx context.Context, wanted, held []Entry) error {
	var errs []error
	for _, e := range wanted {
		err := c.copy(ctx, e, newest(held, func(h Entry) bool { return h.ID == e.ID }))
		var broken brokenError
		switch {
		case err == nil:
			c.out.Copied = append(c.out.Copied, e.ID)
			c.out.Pending--
		case errors.As(err, &broken):
			errs = append(errs, fmt.Errorf("%s was not copied: the local file is damaged: %w", e.ID, err))
			v := Verification{ID: e.ID, Time: c.from.now().UTC(), Problem: broken.Error()}
			if err := c.from.keep(ctx, v); err != nil && !errors.Is(err, ErrExists) { // another target has found it too
				errs = append(errs, err)
			}
		default:
			return errors.Join(append(errs, fmt.Errorf("copy %s: %w; %w", e.ID, err, errTargetFailed))...)
		}
	}
	return errors.Join(errs...)
}

// copy copies one backup: the artefact first and the manifest last, so that the copy
// is a backup only when it is whole. was is what the target lists of it, nil for nothing.
func (c *copier) copy(ctx context.Context, e Entry, was *Entry) error {
	manifest, err := c.from.readFile(ctx, e.ID+manifestSuffix)
	if err != nil {
		return err
	}
	if was != nil {
		for _, name := range []string{e.ID + manifestSuffix, e.ID + verifySuffix, e.Manifest.File} {
			if err := c.to.storage.Remove(ctx, name); err != nil {
				return fmt.Errorf("replace the damaged copy: %w", err)
			}
		}
	}
	err = c.artefact(ctx, e.Manifest)
	if errors.Is(err, ErrExists) {
		// An earlier run ended between the artefact and the manifest. The file is
		// used if it is the right one.
		if err = c.prove(ctx, e.Manifest); err != nil {
			if err = c.to.storage.Remove(ctx, e.Manifest.File); err == nil {
				err = c.artefact(ctx, e.Manifest)
			}
		}
	} else if err == nil && !c.opts.SkipVerify {
		if err = c.prove(ctx, e.Manifest); err != nil {
			err = errors.Join(err, c.to.storage.Remove(context.WithoutCancel(ctx), e.Manifest.File))
		}
	}
	if err != nil {
		return err
	}
	if !c.opts.SkipVerify {
		err := c.to.keep(ctx, Verification{ID: e.ID, Time: c.to.now().UTC(), OK: true})
		if err != nil {
			return err
		}
	}
	return c.to.writeFile(ctx, e.ID+manifestSuffix, manifest)
}

// artefact copies the file and compares it with its checksum on the way: a wrong one
// makes the Put fail, which leaves nothing there.
func (c *copier) artefact(ctx context.Context, m *Manifest) error {
	file, err := c.from.storage.Open(ctx, m.File)
	if errors.Is(err, ErrNotFound) {
		return brokenError{"the artefact is missing"}
	}
	if err != nil {
		return fmt.Errorf("read the local file: %w", err)
	}
	defer file.Close()
	source := &sourceReader{from: file, ctx: ctx}
	size, err := c.to.storage.Put(ctx, m.File, func(w io.Writer) error {
		sum := newMeasured()
		if _, err := io.Copy(io.MultiWriter(&sum, w), source); err != nil {
			return err
		}
		if sum.n != m.Size || sum.hex() != m.SHA256 {
			return brokenError{"its checksum is wrong"}
		}
		return nil
	})
	if err != nil {
		if source.err != nil && ctx.Err() == nil {
			return fmt.Errorf("read the local file: %w", source.err)
		}
		return err
	}
	if size != m.Size {
		return errors.Join(fmt.Errorf("it has stored %d bytes of %d", size, m.Size), c.to.storage.Remove(ctx, m.File))
	}
	return nil
}

// prove reads a copy back and compares the stored bytes.
func (c *copier) prove(ctx context.Context, m *Manifest) error {
	file, err := c.to.storage.Open(ctx, m.File)
	if err != nil {
		return fmt.Errorf("read the copy back: %w", err)
	}
	defer file.Close()
	sum := newMeasured()
	if _, err := io.Copy(&sum, &sourceReader{from: file, ctx: ctx}); err != nil {
		return fmt.Errorf("read the copy back: %w", err)
	}
	if sum.n != m.Size || sum.hex() != m.SHA256 {
		return errors.New("the copy that was read back is not what was sent")
	}
	return nil
}

// marks carries over what people have said of a backup here. Marks of the target's own
// stay.
func (c *copier) marks(ctx context.Context, local, held []Entry) error {
	there := make(map[string]Entry, len(held))
	for _, e := range held {
		there[e.ID] = e
	}
	for _, id := range c.out.Copied {
		there[id] = Entry{ID: id}
	}
	for _, e := range local {
		copied, ok := there[e.ID]
		if !ok {
			continue
		}
		if e.Pinned && !copied.Pinned {
			if err := c.to.mark(ctx, e.ID+pinSuffix); err != nil {
				return err
			}
		}
		if e.Accepted && !copied.Accepted {
			if err := c.to.mark(ctx, e.ID+acceptSuffix); err != nil {
				return err
			}
		}
	}
	return nil
}
