package backup

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"
)

// State says whether a listed backup can be used.
type State string

// The states.
const (
	Good    State = "good"
	Suspect State = "suspect" // complete, but unlike earlier backups; see Manifest.Suspect
	Damaged State = "damaged" // the artefact is missing, has another size, or failed its last verification
	Unknown State = "unknown" // the manifest cannot be read, or has a newer version
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
}

func (e Entry) good() bool { return e.State == Good }

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
// crashes.
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

func (j *Job) entries(ctx context.Context, objects []Object) ([]Entry, error) {
	files := make(map[string]Object, len(objects))
	for _, o := range objects {
		files[o.Name] = o
	}
	var entries []Entry
	unread, known := 0, false
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
			// One bad block hides one backup. A storage that is away fails for all.
			if unread++; unread > 2 || ctx.Err() != nil {
				return nil, err
			}
			e.State, e.Problem, e.unread = Unknown, "its manifest cannot be read: "+strings.TrimPrefix(err.Error(), "backup: "), err
		}
		known = known || err == nil
		entries = append(entries, e)
	}
	if !known && unread > 0 {
		return nil, entries[0].unread
	}
	sort.Slice(entries, func(a, b int) bool { return entries[a].Time().After(entries[b].Time()) })
	return entries, nil
}

func (j *Job) entry(ctx context.Context, id string, files map[string]Object) (Entry, error) {
	e := Entry{ID: id, State: Good}
	_, e.Pinned = files[id+pinSuffix]
	data, err := j.readFile(ctx, id+manifestSuffix)
	if err != nil {
		return e, err
	}
	if e.Manifest, err = parseManifest(j.name, id, data, j.opts.ManifestKey); err != nil {
		e.State, e.Problem = Unknown, err.Error()
		return e, nil //nolint:nilerr // an unreadable manifest is a result of List, not an error
	}
	artefact, found := files[e.Manifest.File]
	switch {
	case !found:
		e.State, e.Problem = Damaged, "the artefact is missing"
	case artefact.Size != e.Manifest.Size:
		e.State, e.Problem = Damaged, fmt.Sprintf("the artefact has %d bytes instead of %d", artefact.Size, e.Manifest.Size)
	case e.Manifest.Suspect != "":
		if _, e.Accepted = files[id+acceptSuffix]; !e.Accepted {
			e.State, e.Problem = Suspect, e.Manifest.Suspect
		}
	}
	if _, ok := files[id+verifySuffix]; ok {
		if v, err := j.readVerification(ctx, id); err == nil {
			e.RestoreTest = v.RestoreTest
			if v.OK {
				e.Verified = v.Time
			} else {
				e.State, e.Problem = Damaged, v.Problem
			}
		}
	}
	return e, nil
}

// Find returns the backup with this id. "" means the newest good backup.
func (j *Job) Find(ctx context.Context, id string) (Entry, error) {
	if id != "" {
		if err := checkID(j.name, id); err != nil {
			return Entry{}, err
		}
	}
	entries, err := j.List(ctx)
	if err != nil {
		return Entry{}, err
	}
	found := newest(entries, func(e Entry) bool { return e.ID == id || id == "" && e.good() })
	if found == nil {
		if id == "" {
			return Entry{}, fmt.Errorf("%w: there is no good backup yet%s", ErrNotFound, in(j.storage))
		}
		return Entry{}, fmt.Errorf("%w: no backup %s%s", ErrNotFound, id, in(j.storage))
	}
	for _, e := range entries {
		if id == "" && e.unread != nil && !e.Time().Before(found.Time().Truncate(time.Second)) {
			return Entry{}, fmt.Errorf("backup: which backup is the newest is unknown, because the manifest of %s cannot be read: name a backup: %w", e.ID, e.unread)
		}
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
	if pinned {
		return j.mark(ctx, id+pinSuffix)
	}
	return j.storage.Remove(ctx, id+pinSuffix)
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

// maxSmallFile is the size limit of files that are read into memory. A manifest names every
// table.
const maxSmallFile = 16 << 20

// idTime returns the time in a valid id.
func idTime(id string) time.Time {
	parts := idForm.FindStringSubmatch(id)
	if parts == nil {
		return time.Time{}
	}
	t, _ := time.Parse(stampLayout, parts[2]) // zero for a date that does not exist
	return t
}
