package backup

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// TestMisspeltFolder: a command that only reads or deletes creates no folder, and names the one that it has not found.
func TestMisspeltFolder(t *testing.T) {
	t.Parallel()
	source := newFake(7)
	j, folder := newTestJob(t, source, nil)
	const id = "pos_20261123T020000Z_4f1c2a"
	for name, do := range map[string]func(context.Context) error{
		"list":    func(ctx context.Context) error { _, err := j.List(ctx); return err },
		"find":    func(ctx context.Context) error { _, err := j.Find(ctx, ""); return err },
		"find id": func(ctx context.Context) error { _, err := j.Find(ctx, id); return err },
		"check":   func(ctx context.Context) error { _, err := j.Check(ctx, time.Hour); return err },
		"prune":   func(ctx context.Context) error { _, err := j.Prune(ctx, Policy{}, false); return err },
		"verify":  func(ctx context.Context) error { _, err := j.Verify(ctx, ""); return err },
		"restore": func(ctx context.Context) error { _, err := j.Restore(ctx, "", "x", nil); return err },
		"pin":     func(ctx context.Context) error { return j.Pin(ctx, id, true) },
		"accept":  func(ctx context.Context) error { return j.Accept(ctx, id) },
		"delete":  func(ctx context.Context) error { return j.Delete(ctx, id) },
		"settle":  func(ctx context.Context) error { _, err := j.Settle(ctx, true); return err },
		"history": func(ctx context.Context) error { _, err := j.History(ctx, 3); return err },
	} {
		err := do(t.Context())
		if name != "list" && name != "settle" && name != "history" {
			require.ErrorContains(t, err, folder.Path(), name)
		}
		_, err = os.Lstat(folder.Path())
		require.ErrorIs(t, err, os.ErrNotExist, name)
	}
}

// unwritable is a storage that stores no result of a verification.
type unwritable struct{ Storage }

func (u unwritable) Abilities() Abilities {
	able := u.Storage.Abilities()
	able.Replace = func(context.Context, string, []byte) error { return syscall.ENOSPC }
	return able
}

// TestVerificationThatCannotBeRecorded: a full disk hides no damage, and makes no backup look damaged.
func TestVerificationThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	source := newScratch(7)
	j, folder := newTestJob(t, source, nil)
	m := mustBackup(t, j)
	j.storage = unwritable{folder}

	_, err := j.Verify(t.Context(), m.ID)
	require.ErrorContains(t, err, m.ID+" is good, but that could not be recorded")
	require.NotErrorIs(t, err, ErrVerification)
	require.ErrorIs(t, err, syscall.ENOSPC)

	flip(t, folder, m.File)
	for _, verify := range []func(context.Context, string) (Verification, error){j.Verify, j.Drill} {
		v, err := verify(t.Context(), m.ID)
		require.ErrorIs(t, err, ErrVerification)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.False(t, v.OK)
	}
}

// TestAssertionOfATroubledServer: an assertion that the server could not answer accuses no backup.
func TestAssertionOfATroubledServer(t *testing.T) {
	t.Parallel()
	for name, untested := range map[string]bool{"the source says so": true, "it does not hold": false} {
		source := newScratch(7)
		source.asked = func(err error) error {
			if untested {
				err = errors.Join(driver.ErrUntested, err)
			}
			return err
		}
		j, _ := newTestJob(t, source, &Options{Drill: DrillOptions{Every: -1, Assertions: []Assertion{
			{Name: "all is well", Check: func(context.Context, driver.Queryer) error { return errors.New("the disk is full") }},
		}}})
		mustBackup(t, j)
		_, err := j.Drill(t.Context(), "")
		require.Equal(t, !untested, errors.Is(err, ErrVerification), "%s: %v", name, err)
		require.Equal(t, untested, errors.Is(err, driver.ErrUntested), "%s: %v", name, err)
		e, err := j.Find(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, untested, e.Drill == nil, name)
	}
}
