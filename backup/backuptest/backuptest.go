// Package backuptest tests that a storage fulfils backup.Storage. It tests atomic writes,
// that files are never replaced, missing files, listing, large files, failures during a
// write, and concurrency.
package backuptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/backup"
)

// Run runs the suite. open returns an empty storage.
func Run(t *testing.T, open func(t testing.TB) backup.Storage) {
	for _, test := range suite {
		t.Run(test.name, func(t *testing.T) {
			if err := test.run(context.Background(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Check runs the suite outside of a test runner and returns all failures, or nil.
func Check(t testing.TB, open func(t testing.TB) backup.Storage) error {
	var errs []error
	for _, test := range suite {
		if err := test.run(context.Background(), open(t)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", test.name, err))
		}
	}
	return errors.Join(errs...)
}

func content(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

// put stores data and checks the size that the storage reports.
func put(ctx context.Context, s backup.Storage, name string, data []byte) error {
	n, err := s.Put(ctx, name, content(data))
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	if n != int64(len(data)) {
		return fmt.Errorf("put %s: it reports %d bytes of %d", name, n, len(data))
	}
	return nil
}

// want compares the content of a file.
func want(ctx context.Context, s backup.Storage, name string, data []byte) error {
	r, err := s.Open(ctx, name)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if !bytes.Equal(got, data) {
		return fmt.Errorf("%s holds %d bytes that are not the %d that were put", name, len(got), len(data))
	}
	return nil
}

// names lists a storage and checks the sizes.
func names(ctx context.Context, s backup.Storage, want map[string]int) error {
	objects, err := s.List(ctx)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	var got []string
	for _, o := range objects {
		got = append(got, o.Name)
		if size, ok := want[o.Name]; ok && o.Size != int64(size) {
			return fmt.Errorf("list: %s has %d bytes, not %d", o.Name, size, o.Size)
		}
		if o.Modified.IsZero() {
			return fmt.Errorf("list: %s has no time", o.Name)
		}
	}
	sort.Strings(got)
	wanted := make([]string, 0, len(want))
	for name := range want {
		wanted = append(wanted, name)
	}
	sort.Strings(wanted)
	if fmt.Sprint(got) != fmt.Sprint(wanted) {
		return fmt.Errorf("list: %v, want %v", got, wanted)
	}
	return nil
}

var suite = []struct {
	name string
	run  func(context.Context, backup.Storage) error
}{
	{"empty", func(ctx context.Context, s backup.Storage) error {
		if _, err := s.Open(ctx, "pos_x.json"); !errors.Is(err, backup.ErrNotFound) {
			return fmt.Errorf("open of what is not there: %w, want ErrNotFound", err)
		}
		return errors.Join(names(ctx, s, nil), s.Remove(ctx, "pos_x.json"))
	}},
	{"put, read, list, remove", func(ctx context.Context, s backup.Storage) error {
		if err := errors.Join(
			put(ctx, s, "a.json", []byte("{}")), put(ctx, s, "a.sql.zst", []byte("dump")), put(ctx, s, "empty", nil),
			want(ctx, s, "a.json", []byte("{}")), want(ctx, s, "a.sql.zst", []byte("dump")), want(ctx, s, "empty", nil),
			names(ctx, s, map[string]int{"a.json": 2, "a.sql.zst": 4, "empty": 0}),
			s.Remove(ctx, "a.json"), names(ctx, s, map[string]int{"a.sql.zst": 4, "empty": 0}),
		); err != nil {
			return err
		}
		if _, err := s.Open(ctx, "a.json"); !errors.Is(err, backup.ErrNotFound) {
			return fmt.Errorf("open of what was removed: %w", err)
		}
		return errors.Join(s.Remove(ctx, "a.json"), put(ctx, s, "a.json", []byte("new")), want(ctx, s, "a.json", []byte("new")))
	}},
	{"never replaces", func(ctx context.Context, s backup.Storage) error {
		if err := put(ctx, s, "a", []byte("first")); err != nil {
			return err
		}
		if _, err := s.Put(ctx, "a", content([]byte("second"))); !errors.Is(err, backup.ErrExists) {
			return fmt.Errorf("a second put: %w, want ErrExists", err)
		}
		return want(ctx, s, "a", []byte("first"))
	}},
	{"all or nothing", func(ctx context.Context, s backup.Storage) error {
		failure := errors.New("the source failed")
		_, err := s.Put(ctx, "a", func(w io.Writer) error {
			if _, err := w.Write(make([]byte, 6<<20)); err != nil {
				return err
			}
			return failure
		})
		if !errors.Is(err, failure) {
			return fmt.Errorf("a put whose source fails: %w, want its error", err)
		}
		if _, err := s.Open(ctx, "a"); !errors.Is(err, backup.ErrNotFound) {
			return fmt.Errorf("half a file can be opened: %w", err)
		}
		return errors.Join(names(ctx, s, nil), put(ctx, s, "a", []byte("whole")), want(ctx, s, "a", []byte("whole")))
	}},
	{"invisible until done", func(ctx context.Context, s backup.Storage) error {
		var early error
		_, err := s.Put(ctx, "a", func(w io.Writer) error {
			if _, err := w.Write([]byte("half")); err != nil {
				return err
			}
			early = names(ctx, s, nil)
			return nil
		})
		return errors.Join(err, early)
	}},
	{"large", func(ctx context.Context, s backup.Storage) error {
		data := make([]byte, 12<<20+7)
		for i := range data {
			data[i] = byte(i * i >> 7)
		}
		_, err := s.Put(ctx, "large", func(w io.Writer) error {
			for rest := data; len(rest) > 0; {
				n := min(len(rest), 100_003)
				if _, err := w.Write(rest[:n]); err != nil {
					return err
				}
				rest = rest[n:]
			}
			return nil
		})
		return errors.Join(err, want(ctx, s, "large", data), names(ctx, s, map[string]int{"large": len(data)}))
	}},
	{"names", func(ctx context.Context, s backup.Storage) error {
		for _, name := range []string{"", ".", "..", ".hidden", "a/b", "../a", "a\x00b", "a b", "ü"} {
			if _, err := s.Put(ctx, name, content([]byte("x"))); err == nil {
				return fmt.Errorf("put accepts the name %q", name)
			}
			if r, err := s.Open(ctx, name); err == nil {
				r.Close()
				return fmt.Errorf("open accepts the name %q", name)
			}
			if err := s.Remove(ctx, name); err == nil {
				return fmt.Errorf("remove accepts the name %q", name)
			}
		}
		return names(ctx, s, nil)
	}},
	{"cancelled", func(ctx context.Context, s backup.Storage) error {
		cancelled, cancel := context.WithCancel(ctx)
		_, err := s.Put(cancelled, "a", func(w io.Writer) error {
			_, err := w.Write([]byte("x"))
			cancel()
			return err
		})
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("a put that is cancelled: %w", err)
		}
		return names(ctx, s, nil)
	}},
	{"concurrent", func(ctx context.Context, s backup.Storage) error {
		const writers = 8
		errs := make([]error, writers)
		won := make([]bool, writers)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				own := fmt.Sprint("file-", i)
				errs[i] = errors.Join(put(ctx, s, own, []byte(own)), want(ctx, s, own, []byte(own)))
				_, err := s.Put(ctx, "shared", content([]byte("x")))
				won[i] = err == nil
				if err != nil && !errors.Is(err, backup.ErrExists) {
					errs[i] = errors.Join(errs[i], err)
				}
			})
		}
		wg.Wait()
		winners := 0
		for _, w := range won {
			if w {
				winners++
			}
		}
		if winners != 1 {
			errs = append(errs, fmt.Errorf("%d writers of one name succeeded", winners))
		}
		return errors.Join(errs...)
	}},
	{"replace", func(ctx context.Context, s backup.Storage) error {
		replace := s.Abilities().Replace
		if replace == nil {
			return nil
		}
		for _, data := range []string{"first", "second, and longer", "3"} {
			if err := replace(ctx, "a.json", []byte(data)); err != nil {
				return fmt.Errorf("replace: %w", err)
			}
			if err := errors.Join(want(ctx, s, "a.json", []byte(data)), names(ctx, s, map[string]int{"a.json": len(data)})); err != nil {
				return err
			}
		}
		for _, name := range []string{"", "..", "a/b", ".hidden"} {
			if err := replace(ctx, name, nil); err == nil {
				return fmt.Errorf("replace accepts the name %q", name)
			}
		}
		return errors.Join(s.Remove(ctx, "a.json"), names(ctx, s, nil))
	}},
	{"lock", func(ctx context.Context, s backup.Storage) error {
		lock := s.Abilities().Lock
		if lock == nil {
			return nil
		}
		for range 2 {
			unlock, err := lock(ctx)
			if err != nil {
				return fmt.Errorf("lock: %w", err)
			}
			if _, err := lock(ctx); !errors.Is(err, backup.ErrLocked) {
				return errors.Join(fmt.Errorf("a second lock: %w, want ErrLocked", err), unlock())
			}
			if err := unlock(); err != nil {
				return fmt.Errorf("unlock: %w", err)
			}
		}
		return names(ctx, s, nil)
	}},
	{"sweep", func(ctx context.Context, s backup.Storage) error {
		sweep := s.Abilities().Sweep
		if sweep == nil {
			return nil
		}
		if err := put(ctx, s, "whole", []byte("whole")); err != nil {
			return err
		}
		var early error
		_, err := s.Put(ctx, "a", func(w io.Writer) error {
			if _, err := w.Write(make([]byte, 6<<20)); err != nil {
				return err
			}
			swept, err := sweep(ctx, time.Now().Add(-24*time.Hour))
			if err != nil || len(swept) > 0 {
				early = fmt.Errorf("sweep removes %v, which is being written: %w", swept, err)
			}
			return nil
		})
		if err := errors.Join(err, early); err != nil {
			return err
		}
		if _, err := sweep(ctx, time.Now().Add(24*time.Hour)); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
		return errors.Join(want(ctx, s, "whole", []byte("whole")), names(ctx, s, map[string]int{"whole": 5, "a": 6 << 20}))
	}},
	{"free", func(ctx context.Context, s backup.Storage) error {
		if free := s.Abilities().Free; free != nil {
			if n, err := free(ctx); err == nil && n <= 0 {
				return fmt.Errorf("free: %d bytes", n)
			}
		}
		return nil
	}},
}
