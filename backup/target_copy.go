package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// copier brings one target up to date.
type copier struct {
	from, to *Job
	opts     Target
	out      TargetOutcome
}

// all sweeps, copies, marks and retains, in this order. It deletes no backup unless the
// target holds all backups that it should.
func (c *copier) all(ctx context.Context, local []Entry) error {
	c.out.Pending = -1
	unlock, err := c.to.lockStorage(ctx)
	if err != nil {
		return err
	}
	defer unlock() //nolint:errcheck // the end of the process also frees the lock
	_, unswept := c.to.sweepBefore(ctx, c.to.now().Add(-leftoverAge))
	held, err := c.to.List(ctx)
	if err != nil {
		return err
	}
	if unswept != nil { // copies are worth more than leftovers
		unswept = fmt.Errorf("leftovers of interrupted copies could not be removed: %w", unswept)
	}
	if unswept != nil && c.opts.NoRetention { // an access key that may only write
		c.to.opts.Logger.WarnContext(ctx, "backup: a target: "+oneLine(unswept), "job", c.to.name, "target", c.opts.Name)
		unswept = nil
	}
	return errors.Join(c.update(ctx, local, held), unswept)
}

// update reads a share of the copies again, and brings the others.
func (c *copier) update(ctx context.Context, local, held []Entry) (err error) {
	c.note(held)
	// A damaged copy is found first, and then replaced like a missing one.
	unread := unreadable(held)
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
		if listErr == nil && newest(after, Entry.broken) == nil {
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
	// Count the copies that the target lists now, not those that it confirmed.
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
	if err := c.to.restored(ctx, held); err != nil {
		return err
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

// missing returns the good backups that a target lacks, the newest first. A target should
// hold the backups that its policy would keep if it held all of them.
func missing(now time.Time, local, held []Entry, p Policy) []Entry {
	has := make(map[string]bool, len(held))
	var all []Entry
	for _, e := range held {
		if e.broken() {
			continue // replaced if the job's own copy is good
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
	p.Force = true // no backup is deleted here
	decisions, _ := plan(now, all, p)
	var wanted []Entry
	for _, d := range decisions {
		if d.Keep && absent[d.Entry.ID] {
			wanted = append(wanted, d.Entry)
		}
	}
	return wanted
}

// errTargetFailed marks an error of the target. The other copies are then not tried,
// because each of them would have to wait again.
var errTargetFailed = errors.New("the copies that are missing wait for the next run")

// copyAll copies the wanted backups. A backup that is damaged here does not prevent the
// other copies.
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
			if err := c.from.keep(ctx, v); err != nil && !errors.Is(err, ErrExists) { // another target may have found it too
				errs = append(errs, err)
			}
		default:
			return errors.Join(append(errs, fmt.Errorf("copy %s: %w; %w", e.ID, err, errTargetFailed))...)
		}
	}
	return errors.Join(errs...)
}

// copy copies one backup. was is the damaged copy that it replaces, or nil. The target keeps
// the old artefact until the new one was read back and the manifest names it.
func (c *copier) copy(ctx context.Context, e Entry, was *Entry) error {
	m := *e.Manifest
	if was != nil && was.Manifest != nil {
		m.File = was.Manifest.File
	}
	if err := c.artefact(ctx, e.Manifest.File, &m); err != nil {
		return err
	}
	var manifest []byte
	var err error
	if m.File == e.Manifest.File {
		manifest, err = c.from.readFile(ctx, e.ID+manifestSuffix)
	} else {
		manifest, err = m.encode(c.to.opts.ManifestKey)
	}
	if err != nil {
		return err
	}
	store := c.to.writeFile
	if was != nil {
		store = c.to.replaceFile
	}
	proven := func() error {
		if c.opts.SkipVerify {
			return nil
		}
		return c.to.keep(ctx, Verification{ID: e.ID, Time: c.to.now().UTC(), OK: true})
	}
	if was == nil { // a new copy never is without its verification
		err = proven()
	}
	if err == nil {
		err = store(ctx, e.ID+manifestSuffix, manifest)
	}
	if err == nil && was != nil { // a crash leaves a copy that is still called damaged
		err = proven()
	}
	if err != nil {
		return err
	}
	return c.to.removeFiles(ctx, e.ID, m.File)
}

// removeFiles removes the artefacts of a backup that its manifest does not name.
func (j *Job) removeFiles(ctx context.Context, id, file string) error {
	objects, err := j.objects(ctx)
	if err != nil {
		return err
	}
	for _, o := range objects {
		switch o.Name {
		case file, id + manifestSuffix, id + verifySuffix, id + testSuffix, id + pinSuffix, id + acceptSuffix:
			continue
		}
		if stem(j.name, o.Name) != id {
			continue
		}
		if err := j.storage.Remove(ctx, o.Name); err != nil && !errors.Is(err, ErrRetained) {
			return err
		}
	}
	return nil
}

// artefact makes sure that the target holds the artefact of m. It chooses another name for it
// if the target holds another content with that name.
func (c *copier) artefact(ctx context.Context, local string, m *Manifest) error {
	err := c.send(ctx, local, m)
	if errors.Is(err, ErrExists) {
		// A damaged copy is read a second time, because the first result may be wrong. An
		// earlier run may also have ended between the artefact and the manifest.
		if err = c.prove(ctx, m); !errors.Is(err, errOther) {
			return err
		}
		m.File = m.ID + "." + server.RandomDigits() + strings.TrimPrefix(local, m.ID)
		err = c.send(ctx, local, m)
	}
	if err == nil && !c.opts.SkipVerify {
		if err = c.prove(ctx, m); err != nil {
			err = errors.Join(err, c.to.storage.Remove(context.WithoutCancel(ctx), m.File))
		}
	}
	return err
}

// send stores a local file in the target and compares its checksum during the transfer. On a
// difference the Put fails, and no file remains.
func (c *copier) send(ctx context.Context, local string, m *Manifest) error {
	file, err := c.from.storage.Open(ctx, local)
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

// errOther means that a copy has another content than the local file.
var errOther = errors.New("the copy that was read back is not what was sent")

// prove reads a copy back and compares its stored bytes with the checksum.
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
		return errOther
	}
	return nil
}

// marks copies the marks of operators and the outcomes of restore tests to the target. The
// target's own marks and later outcomes stay.
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
		if d := e.RestoreTest; d != nil && (copied.RestoreTest == nil || d.Time.After(copied.RestoreTest.Time)) {
			if err := c.to.writeSealed(ctx, e.ID+testSuffix, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// mark is the content of a mark of an operator.
type mark struct {
	Time time.Time `json:"time"`
}

// mark stores a mark of an operator.
func (j *Job) mark(ctx context.Context, name string) error {
	return j.writeSealed(ctx, name, mark{j.now().UTC()})
}
