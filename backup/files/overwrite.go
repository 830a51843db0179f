package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// original returns the folder, unless Overwrite cannot replace it.
func (f *Source) original(context.Context) (string, error) {
	if mountPoint(f.root) {
		return "", fmt.Errorf("backup: %s is a mount point, whose name cannot be exchanged: restore into a new folder in it, and move the files", f.root)
	}
	skip, err := f.inside()
	for folder := range skip {
		if _, err := os.Lstat(filepath.Join(f.root, filepath.FromSlash(folder))); errors.Is(err, os.ErrNotExist) {
			continue
		}
		return "", fmt.Errorf("backup: %s cannot be replaced, because the backups or their history are inside, in %s: restore into a new folder, and move the files", f.root, folder)
	}
	return f.root, err
}

// leftover reports whether a restore chose the name of a folder itself.
func (f *Source) leftover(_ context.Context, target string) bool {
	return server.Leftover(f.root, target)
}

// discard removes a restored folder.
func discard(_ context.Context, target string) error { return removeTree(target) }

// Overwrite unpacks an archive beside the folder and compares it with the manifest. Then it
// swaps the names of the two folders, atomically on Linux, and removes the old folder. It
// creates a folder that does not exist. Files, folders and links keep their present owners. New
// ones get the owner of the folder that they are in.
//
// Excluded files, sockets, pipes and devices stay, and so do files and folders that the backup
// could not read. They get a second name in the new folder before the swap. Overwrite fails
// before the swap if that is impossible, for example on a file system without hard links.
func (f *Source) Overwrite(ctx context.Context, r io.Reader, o driver.RestoreOptions) (got driver.Contents, err error) {
	second := filepath.Join(filepath.Dir(f.root), ".tmp-restore-"+filepath.Base(f.root)+"-"+server.RandomDigits())
	if _, err := f.original(ctx); err != nil {
		return got, err
	}
	touch := o.Touch
	o.Target, o.Touch = second, nil
	if _, got, err = f.Restore(ctx, r, o); err != nil {
		return got, err
	}
	info, err := os.Stat(f.root)
	gone := errors.Is(err, os.ErrNotExist)
	if gone {
		err = nil
	}
	if err == nil && info != nil && !info.IsDir() {
		err = fmt.Errorf("%s is no folder", f.root)
	}
	if err == nil {
		err = o.Want.Compare(got)
	}
	if err == nil && !gone {
		err = f.carry(ctx, f.root, second, o.Want.Skipped)
	}
	if err == nil && !gone {
		var others []string
		if others, err = keepOwners(ctx, f.root, second); len(others) > 0 {
			got.Warnings = append(got.Warnings, "this user may not give them to their present owners: "+server.ShortList(others))
		}
	}
	if err == nil {
		err = o.Creating(ctx, second)
	}
	if err == nil && touch != nil {
		err = touch(ctx)
	}
	switch {
	case err != nil:
	case gone:
		err = os.Rename(second, f.root)
	default:
		err = exchange(second, f.root)
	}
	if errors.Is(err, driver.ErrHalfway) {
		return got, err
	}
	if err == nil && !gone {
		if late := f.carry(ctx, second, f.root, o.Want.Skipped); late != nil { // files that were created during the restore
			got.Warnings = append(got.Warnings, fmt.Sprintf("the old folder is still there, as %s, because it holds files that no backup has: move them, and remove it (%v)", second, late))
			return got, nil
		}
	}
	if left := removeTree(second); err == nil && left != nil {
		got.Warnings = append(got.Warnings, fmt.Sprintf("the old folder is still there, as %s: remove it (%v)", second, left))
	}
	if err != nil {
		return got, fmt.Errorf("backup: replace %s: %w", f.root, err)
	}
	return got, nil
}

// exchangeByTwo swaps two folders in two steps, for systems without an atomic swap.
func exchangeByTwo(a, b string) error {
	aside := b + "_replaced_" + time.Now().UTC().Format(server.Stamp)
	if err := os.Rename(b, aside); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		if back := os.Rename(aside, b); back != nil {
			return fmt.Errorf("%w: %w; the folder is now %s: %w", driver.ErrHalfway, err, aside, back)
		}
		return err
	}
	return os.Rename(aside, a)
}
