package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// carry gives the files of a folder that Dump leaves out, or could not read for the backup, a
// second name in another folder. Until the first folder is removed, both folders have them. A
// file that cannot be read now does not replace one that was restored.
func (f *Source) carry(ctx context.Context, from, to string, skipped []driver.Skipped) error {
	source, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }()
	c := &carrier{from: source, to: target, lacks: make(map[string]bool)}
	for _, s := range skipped {
		c.lacks[s.Object] = true
	}
	err = walk(ctx, source, ".", func(name string, info fs.FileInfo) error {
		if !f.excluded(name) && c.stored(name, info) {
			return nil
		}
		if err := c.parents(name); err != nil {
			return err
		}
		if err := walk(ctx, source, name, c.one, lost); err != nil {
			return err
		}
		return fs.SkipDir
	}, lost)
	for i := len(c.folders) - 1; err == nil && i >= 0; i-- { // inner folders before outer ones
		err = finish(target, c.folders[i])
	}
	if errors.Is(err, fs.ErrPermission) { // Linux also protects the links of files that a user may not write
		return fmt.Errorf("%w: this user may not keep files that the backup does not hold: restore as root, or move them elsewhere first", err)
	}
	return err
}

// keepOwners gives the entries of a restored folder the owners that they have in the present one.
// A new entry gets the owner of the folder that it is in. keepOwners returns the entries that
// this user may not give to their owners.
func keepOwners(ctx context.Context, present, restored string) (others []string, err error) {
	from, err := os.OpenRoot(present)
	if err != nil {
		return nil, err
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenRoot(restored)
	if err != nil {
		return nil, err
	}
	defer func() { _ = to.Close() }()
	folders := make(map[string]fs.FileInfo) // whose owners those in the restored folder get
	err = walk(ctx, to, ".", func(name string, info fs.FileInfo) error {
		like, err := from.Lstat(name)
		if err != nil {
			like = folders[path.Dir(name)]
		}
		if info.IsDir() {
			folders[name] = like
		}
		if !sameOwner(info, like) && giveTo(to, name, like) != nil {
			others = append(others, name)
		}
		return nil
	}, func(_ string, err error) error {
		if errors.Is(err, fs.ErrPermission) {
			return nil // a folder of this user, whose entries it may give to nobody
		}
		return gone(err)
	})
	return others, err
}

// carrier carries entries from one folder to another.
type carrier struct {
	from, to *os.Root
	folders  []unpacked      // that it created
	lacks    map[string]bool // what the backup does not hold, and folders below it
}

// lost ends a walk at an entry that cannot be read.
func lost(_ string, err error) error { return gone(err) }

// stored reports whether an entry needs no second name: the backup holds it, Dump would store it
// now, or it is a folder.
func (c *carrier) stored(name string, info fs.FileInfo) bool {
	kind, above := info.Mode().Type(), c.lacks[object(path.Dir(name))]
	_, there := c.to.Lstat(name)
	switch {
	case kind == fs.ModeDir:
		if above {
			c.lacks[object(name)] = true
		}
		return true
	case kind != 0 && kind != fs.ModeSymlink || c.lacks[object(name)]:
		return false
	case above || there == nil:
		return there == nil
	case kind == fs.ModeSymlink:
		return true
	}
	file, err := c.from.Open(name)
	if err == nil {
		_ = file.Close() // nothing was read
	}
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// parents creates the parent folders of an entry.
func (c *carrier) parents(name string) error {
	parent := path.Dir(name)
	if parent == "." {
		return nil
	}
	if err := c.parents(parent); err != nil {
		return err
	}
	info, err := c.from.Lstat(parent)
	if err != nil {
		return err
	}
	return c.folder(parent, info)
}

// folder creates a folder, unless it exists.
func (c *carrier) folder(name string, like fs.FileInfo) error {
	there, err := c.to.Lstat(name)
	switch {
	case err == nil && there.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s holds files that no backup has, and is no folder in this backup: move them elsewhere first", name)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := c.to.Mkdir(name, 0o700); err != nil {
		return err
	}
	c.folders = append(c.folders, unpacked{name: name, mode: like.Mode().Perm(), modified: like.ModTime()})
	return giveTo(c.to, name, like)
}

// one carries one entry. Entries below a folder follow.
func (c *carrier) one(name string, info fs.FileInfo) error {
	if info.IsDir() {
		return c.folder(name, info)
	}
	there, err := c.to.Lstat(name)
	switch {
	case err == nil && os.SameFile(there, info):
		return nil
	case err == nil && there.IsDir():
		return fmt.Errorf("%s is in no backup of today, and a folder in this one: move it elsewhere first", name)
	case err == nil: // a backup from before the file was excluded
		if err := c.to.Remove(name); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return os.Link(filepath.Join(c.from.Name(), filepath.FromSlash(name)), filepath.Join(c.to.Name(), filepath.FromSlash(name)))
}
