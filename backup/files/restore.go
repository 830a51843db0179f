package files

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Restore unpacks an archive into a new folder, beside the original if target is "". The
// folder gets its name when it is complete. A failed restore removes its files. Restore
// rejects names outside of the folder, duplicate names, and entries other than files,
// folders and links. It creates links last and unchanged, so that it never writes a file
// through a link. The user who restores owns all files, except after Overwrite. Setuid, setgid and sticky bits are
// not restored.
func (f *Source) Restore(ctx context.Context, r io.Reader, o driver.RestoreOptions) (restored string, got driver.Contents, err error) {
	if len(o.Tables) > 0 {
		return "", got, errors.New("backup: single tables can be restored of databases only")
	}
	target := o.Target
	if target == "" {
		target = f.root + "_restore_" + time.Now().UTC().Format(server.Stamp)
	}
	if target, err = filepath.Abs(target); err != nil {
		return "", got, fmt.Errorf("backup: %w", err)
	}
	if _, err := os.Lstat(target); err == nil {
		return target, got, fmt.Errorf("backup: %s exists: a restore never overwrites; choose another target", target)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return target, got, fmt.Errorf("backup: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(target), ".tmp-restore-") // 0700
	if err != nil {
		return target, got, fmt.Errorf("backup: %w", err)
	}
	if err = o.Creating(ctx, dir); err == nil {
		got, err = unpack(ctx, r, dir)
	}
	if err == nil {
		// os.Rename would replace an empty folder with the same name.
		if _, there := os.Lstat(target); there == nil {
			err = fmt.Errorf("%s exists meanwhile", target)
		} else {
			err = os.Rename(dir, target)
		}
	}
	if err != nil {
		return target, got, errors.Join(fmt.Errorf("backup: unpack: %w", err), server.Left(removeTree(dir)))
	}
	return target, got, nil
}

// removeTree also removes the content of folders without permissions.
func removeTree(dir string) error {
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(name, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// unpacked is an entry whose permissions and time are set after all entries exist.
type unpacked struct {
	name, link string
	mode       fs.FileMode
	modified   time.Time
}

func unpack(ctx context.Context, r io.Reader, dir string) (c driver.Contents, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return c, err
	}
	defer func() { _ = root.Close() }()
	end := &zeroTail{from: r}
	in := tar.NewReader(end)
	var folders, links []unpacked
	var files int64
	for {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return c, err
		}
		name := strings.TrimSuffix(h.Name, "/")
		if !filepath.IsLocal(filepath.FromSlash(name)) || path.Clean(name) != name || strings.ContainsRune(name, 0) {
			return c, fmt.Errorf("the archive names %q, which would not stay in the folder", h.Name)
		}
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") { // a few bytes could fill the disk
				return c, fmt.Errorf("the archive holds %q as a sparse file, which this package never writes", h.Name)
			}
		}
		entry := unpacked{name: name, link: h.Linkname, mode: fs.FileMode(h.Mode) & fs.ModePerm, modified: h.ModTime}
		switch h.Typeflag {
		case tar.TypeDir:
			if name != "." {
				if err := root.Mkdir(name, 0o700); err != nil {
					return c, err
				}
			}
			folders = append(folders, entry)
		case tar.TypeReg:
			if err := unpackFile(ctx, root, in, entry); err != nil {
				return c, err
			}
			files++
		case tar.TypeSymlink:
			links = append(links, entry)
		default:
			return c, fmt.Errorf("the archive holds %q of kind %q, which is neither a file, a folder nor a link", h.Name, h.Typeflag)
		}
	}
	if _, err := io.Copy(io.Discard, end); err != nil {
		return c, err
	}
	if end.zeros < 1024 {
		return c, errors.New("the archive is cut: it has no end")
	}
	for _, l := range links {
		if err := root.Symlink(l.link, l.name); err != nil {
			return c, err
		}
	}
	for i := len(folders) - 1; i >= 0; i-- { // inner folders before outer ones
		if err := finish(root, folders[i]); err != nil {
			return c, err
		}
	}
	c.Tables = []driver.Table{{Name: kindFiles, Rows: files}, {Name: kindFolders, Rows: int64(len(folders))}, {Name: kindLinks, Rows: int64(len(links))}}
	return c, nil
}

func unpackFile(ctx context.Context, root *os.Root, from io.Reader, e unpacked) error {
	file, err := root.OpenFile(e.name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(server.ContextWriter{Ctx: ctx, To: file}, from)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	return finish(root, e)
}

// finish sets the permissions of an entry, independent of the umask, and its time.
func finish(root *os.Root, e unpacked) error {
	if err := root.Chtimes(e.name, e.modified, e.modified); err != nil {
		return err
	}
	return root.Chmod(e.name, e.mode)
}

// zeroTail counts the zeros at the end of its input. An archive ends with 1024 zeros.
type zeroTail struct {
	from  io.Reader
	zeros int
}

func (z *zeroTail) Read(p []byte) (int, error) {
	n, err := z.from.Read(p)
	i := n
	for i > 0 && p[i-1] == 0 {
		i--
	}
	if i > 0 {
		z.zeros = 0
	}
	z.zeros = min(z.zeros+n-i, 1<<20)
	return n, err
}
