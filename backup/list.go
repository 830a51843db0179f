package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// State says whether a listed backup can be used.
type State string

// The states.
const (
	Good    State = "good"
	Suspect State = "suspect" // complete, but unlike earlier backups; see Manifest.Suspect
	Damaged State = "damaged" // the artefact is missing, has another size, or failed its last verification
	Unknown State = "unknown" // the manifest cannot be read, is damaged, or has a newer version
)

// Entry is a backup in a storage.
type Entry struct {
	ID          string       // as in Manifest.ID, from the names of the files
	State       State        // Good, Suspect, Damaged or Unknown
	Problem     string       // the reason of a bad state; "" for a good backup
	Manifest    *Manifest    // nil if State is Unknown
	Pinned      bool         // never deleted by retention
	Accepted    bool         // was suspect, and an operator accepted it
	Verified    time.Time    // when it last passed a verification; zero if never
	RestoreTest *RestoreTest // the latest restore test; nil without one

	restoring bool  // a restore reads it, or was interrupted and can be repeated
	unread    error // of the storage, when it read the manifest
	newer     bool  // the manifest has a newer format
	unproven  bool  // Damaged only because the record of its verification cannot be read
}

func (e Entry) good() bool { return e.State == Good }

// tested reports whether a restore test of the good backup has an outcome.
func (e Entry) tested() bool { return e.good() && e.RestoreTest != nil }

// usable reports whether the backup is good, also according to its restore test.
func (e Entry) usable() bool { return e.good() && (e.RestoreTest == nil || e.RestoreTest.OK) }

// broken reports whether nobody can restore the backup as it is.
func (e Entry) broken() bool { return e.State == Damaged || e.State == Unknown && !e.newer }

// Restored returns when the backup last passed a restore test. It is zero if it never did.
func (e Entry) Restored() time.Time {
	if e.RestoreTest == nil || !e.RestoreTest.OK {
		return time.Time{}
	}
	return e.RestoreTest.Time
}

// Time returns the start time of the backup. For an unknown backup it is exact to the
// second.
func (e Entry) Time() time.Time {
	if e.Manifest != nil {
		return e.Manifest.Started
	}
	return idTime(e.ID)
}

// List returns the backups of the job, the newest first. It leaves out leftovers of
// crashes. If it can read none of the manifests, it returns the backups with the error.
func (j *Job) List(ctx context.Context) ([]Entry, error) {
	objects, err := j.objects(ctx)
	if err != nil {
		return nil, err
	}
	return j.entries(ctx, objects)
}

// objects lists the storage.
func (j *Job) objects(ctx context.Context) ([]Object, error) {
	objects, err := j.storage.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("backup: list: %w", err)
	}
	return objects, nil
}

// filesOf returns the objects by their names.
func filesOf(objects []Object) map[string]Object {
	files := make(map[string]Object, len(objects))
	for _, o := range objects {
		files[o.Name] = o
	}
	return files
}

// entries is List of a listed storage.
func (j *Job) entries(ctx context.Context, objects []Object) ([]Entry, error) {
	files := filesOf(objects)
	var entries []Entry
	var unread error
	known := false
	for _, o := range objects {
		id := stem(j.name, o.Name)
		if id == "" || o.Name != id+manifestSuffix {
			continue
		}
		e, err := j.entry(ctx, id, files)
		if errors.Is(err, ErrNotFound) {
			continue // deleted since the listing
		}
		if err != nil {
			return nil, err
		}
		if unread = cmp.Or(unread, e.unread); e.unread == nil {
			known = true
		}
		entries = append(entries, e)
	}
	sort.Slice(entries, func(a, b int) bool { return entries[a].Time().After(entries[b].Time()) })
	if !known { // the storage may be away
		return entries, unread
	}
	return entries, nil
}

// entry returns the backup with this id. A manifest that cannot be read hides only its own
// backup.
func (j *Job) entry(ctx context.Context, id string, files map[string]Object) (Entry, error) {
	e := Entry{ID: id, State: Good}
	_, e.Pinned = files[id+pinSuffix] // an unreadable pin keeps a backup, too
	data, err := j.readFile(ctx, id+manifestSuffix)
	switch {
	case errors.Is(err, ErrNotFound) || err != nil && ctx.Err() != nil:
		return e, err
	case err != nil:
		e.State, e.Problem, e.unread = Unknown, "its manifest cannot be read: "+strings.TrimPrefix(err.Error(), "backup: "), err
		return e, nil
	}
	if e.Manifest, err = parseManifest(j.name, id, data, j.opts.ManifestKey); err != nil {
		e.State, e.Problem, e.newer = Unknown, err.Error(), errors.Is(err, errNewerFormat)
		return e, nil // an unreadable manifest is a result of List, not an error
	}
	artefact, found := files[e.Manifest.File]
	switch {
	case !found:
		e.State, e.Problem = Damaged, "the artefact is missing"
	case artefact.Size != e.Manifest.Size:
		e.State, e.Problem = Damaged, fmt.Sprintf("the artefact has %d bytes instead of %d", artefact.Size, e.Manifest.Size)
	case e.Manifest.Suspect != "":
		if _, marked := files[id+acceptSuffix]; marked {
			e.Accepted = j.readSealed(ctx, id+acceptSuffix, new(mark)) == nil
		}
		if !e.Accepted {
			e.State, e.Problem = Suspect, e.Manifest.Suspect
		}
	}
	if _, ok := files[id+verifySuffix]; ok {
		j.verified(ctx, &e)
	}
	if _, ok := files[id+testSuffix]; ok {
		e.RestoreTest = new(RestoreTest)
		switch err := j.readSealed(ctx, id+testSuffix, e.RestoreTest); {
		case errors.Is(err, ErrNotFound):
			e.RestoreTest = nil
		case err != nil:
			*e.RestoreTest = RestoreTest{Problem: "the record of its restore test cannot be read, so test it again: " + strings.TrimPrefix(err.Error(), "backup: ")}
		}
	}
	return e, ctx.Err()
}

// verified adds the result of the last verification to an entry. A backup whose record cannot
// be read may be damaged.
func (j *Job) verified(ctx context.Context, e *Entry) {
	v, err := j.readVerification(ctx, e.ID)
	switch {
	case errors.Is(err, ErrNotFound): // removed since the listing
	case err != nil:
		if e.State != Damaged {
			e.State, e.unproven = Damaged, true
			e.Problem = "the record of its verification cannot be read, so verify it: " + strings.TrimPrefix(err.Error(), "backup: ")
		}
	case v.OK:
		e.Verified = v.Time
	default:
		e.State, e.Problem = Damaged, v.Problem
	}
}

// Find returns the backup with this id. It reads only the files of that backup. "" means the
// newest good backup. Find("") fails while a newer backup is unknown, because that one may be
// the newest good backup.
func (j *Job) Find(ctx context.Context, id string) (Entry, error) {
	if id == "" {
		return j.findNewest(ctx)
	}
	if err := checkID(j.name, id); err != nil {
		return Entry{}, err
	}
	objects, err := j.objects(ctx)
	if err != nil {
		return Entry{}, err
	}
	files := filesOf(objects)
	var e Entry
	_, found := files[id+manifestSuffix]
	if found {
		e, err = j.entry(ctx, id, files)
	}
	if !found || errors.Is(err, ErrNotFound) {
		return Entry{}, fmt.Errorf("%w: no backup %s%s", ErrNotFound, id, in(j.storage))
	}
	return e, err
}

func (j *Job) findNewest(ctx context.Context) (Entry, error) {
	entries, err := j.List(ctx)
	if err != nil {
		return Entry{}, err
	}
	found := newest(entries, Entry.good)
	for _, e := range entries {
		if e.State == Unknown && (found == nil || !e.Time().Before(found.Time().Truncate(time.Second))) {
			return Entry{}, fmt.Errorf("%w: the newest good backup is unknown because of %s (%s): name a backup", cmp.Or(e.unread, ErrDamaged), e.ID, strings.TrimPrefix(e.Problem, "backup: "))
		}
	}
	if found == nil {
		return Entry{}, fmt.Errorf("%w: there is no good backup yet%s", ErrNotFound, in(j.storage))
	}
	return *found, nil
}

// newest returns the first entry for which wanted is true.
func newest(entries []Entry, wanted func(Entry) bool) *Entry {
	for i := range entries {
		if wanted(entries[i]) {
			return &entries[i]
		}
	}
	return nil
}

// Pin protects a backup from deletion, or ends the protection if pinned is false.
func (j *Job) Pin(ctx context.Context, id string, pinned bool) error {
	if err := checkID(j.name, id); err != nil {
		return err
	}
	if _, err := j.Find(ctx, id); err != nil {
		return err
	}
	if !pinned {
		return j.storage.Remove(ctx, id+pinSuffix)
	}
	if err := j.mark(ctx, id+pinSuffix); err != nil {
		return err
	}
	if j.deleted(ctx, id) { // retention looked at its pin before this one was there
		return errors.Join(fmt.Errorf("%w: %s was deleted meanwhile", ErrNotFound, id), j.storage.Remove(ctx, id+pinSuffix))
	}
	return nil
}

// pinned reports whether a backup is pinned now.
func (j *Job) pinned(ctx context.Context, id string) (bool, error) {
	_, err := j.readFile(ctx, id+pinSuffix)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Accept turns a suspect backup into a good one. An operator must have examined it.
func (j *Job) Accept(ctx context.Context, id string) error {
	e, err := j.Find(ctx, id)
	if err != nil {
		return err
	}
	if e.State != Suspect {
		return fmt.Errorf("backup: %s is not suspect but %s", e.ID, e.State)
	}
	return j.mark(ctx, e.ID+acceptSuffix)
}

// idTime returns the time in a valid id.
func idTime(id string) time.Time {
	parts := idForm.FindStringSubmatch(id)
	if parts == nil {
		return time.Time{}
	}
	t, _ := time.Parse(server.Stamp, parts[2]) // zero for a date that does not exist
	return t
}
