package backuptest_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/backuptest"
)

func folder(t testing.TB) *backup.Folder {
	t.Helper()
	f, err := backup.NewFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFolder(t *testing.T) {
	backuptest.Run(t, func(t testing.TB) backup.Storage { return folder(t) })
}

// TestCatchesBrokenStorages gives the suite storages with one fault each.
func TestCatchesBrokenStorages(t *testing.T) {
	for name, wrap := range map[string]func(backup.Storage) backup.Storage{
		"replaces files":          func(s backup.Storage) backup.Storage { return replaces{s} },
		"keeps half files":        func(s backup.Storage) backup.Storage { return keepsHalf{s} },
		"lies about the size":     func(s backup.Storage) backup.Storage { return lies{s} },
		"does not remove":         func(s backup.Storage) backup.Storage { return hoards{s} },
		"fails to list new files": func(s backup.Storage) backup.Storage { return blind{s} },
		"replaces nothing":        func(s backup.Storage) backup.Storage { return frozen{s} },
		"lets everybody lock":     func(s backup.Storage) backup.Storage { return open{s} },
		"sweeps whole files":      func(s backup.Storage) backup.Storage { return broom{s} },
	} {
		if backuptest.Check(t, func(t testing.TB) backup.Storage { return wrap(folder(t)) }) == nil {
			t.Errorf("a storage that %s passed", name)
		}
	}
}

type replaces struct{ backup.Storage }

func (s replaces) Put(ctx context.Context, name string, write func(io.Writer) error) (int64, error) {
	if err := s.Remove(ctx, name); err != nil {
		return 0, err
	}
	return s.Storage.Put(ctx, name, write)
}

type keepsHalf struct{ backup.Storage }

func (s keepsHalf) Put(ctx context.Context, name string, write func(io.Writer) error) (int64, error) {
	var failure error
	n, err := s.Storage.Put(ctx, name, func(w io.Writer) error {
		failure = write(w)
		return nil
	})
	if err == nil {
		err = failure
	}
	return n, err
}

type lies struct{ backup.Storage }

func (s lies) Put(ctx context.Context, name string, write func(io.Writer) error) (int64, error) {
	n, err := s.Storage.Put(ctx, name, write)
	return n + 1, err
}

type hoards struct{ backup.Storage }

func (hoards) Remove(context.Context, string) error { return nil }

type blind struct{ backup.Storage }

func (blind) List(context.Context) ([]backup.Object, error) { return nil, nil }

type frozen struct{ backup.Storage }

func (s frozen) Abilities() backup.Abilities {
	a := s.Storage.Abilities()
	a.Replace = func(ctx context.Context, name string, data []byte) error {
		_, err := s.Put(ctx, name, func(w io.Writer) error { _, err := w.Write(data); return err })
		if errors.Is(err, backup.ErrExists) {
			return nil
		}
		return err
	}
	return a
}

type open struct{ backup.Storage }

func (s open) Abilities() backup.Abilities {
	a := s.Storage.Abilities()
	a.Lock = func(context.Context) (func() error, error) { return func() error { return nil }, nil }
	return a
}

type broom struct{ backup.Storage }

func (s broom) Abilities() backup.Abilities {
	a := s.Storage.Abilities()
	a.Sweep = func(ctx context.Context, _ time.Time) ([]string, error) {
		objects, err := s.List(ctx)
		for _, o := range objects {
			err = errors.Join(err, s.Remove(ctx, o.Name))
		}
		return nil, err
	}
	return a
}
