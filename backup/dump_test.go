package backup

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// TestDumpAgain: a dump that was disturbed is repeated at most twice. Any other error ends the run.
func TestDumpAgain(t *testing.T) {
	t.Parallel()
	altered := driver.Transient(errors.New("the table was altered"))
	for name, c := range map[string]struct {
		errs  []error
		dumps int
		good  bool
	}{
		"altered once":  {[]error{altered, nil}, 2, true},
		"altered twice": {[]error{altered, altered, nil}, 3, true},
		"always":        {[]error{altered, altered, altered, nil}, 3, false},
		"refused":       {[]error{&net.OpError{Op: "dial", Err: errors.New("refused")}, nil}, 2, true},
		"another error": {[]error{errors.New("wrong password"), nil}, 1, false},
		"then another":  {[]error{altered, errors.New("wrong password"), nil}, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var last Progress
			source, dumps := newFake(3), 0
			j, folder := newTestJob(t, source, &Options{Trace: &Trace{Progress: func(_ context.Context, p Progress) { last = p }}})
			source.dump = func(w io.Writer) error {
				_, err := w.Write(make([]byte, 1000))
				dumps++
				return errors.Join(err, c.errs[dumps-1])
			}
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				report, err := j.Backup(t.Context())
				assert.Equal(t, time.Duration(c.dumps-1)*dumpPause, time.Since(began))
				assert.Equal(t, c.dumps, dumps)
				if !c.good {
					require.ErrorIs(t, err, c.errs[c.dumps-1])
					require.Nil(t, report.Manifest)
					require.Empty(t, files(t, folder))
					return
				}
				require.NoError(t, err)
				require.Len(t, report.Manifest.Warnings, c.dumps-1)
				assert.True(t, strings.HasPrefix(report.Manifest.Warnings[0], "the dump was repeated after an error: "), report.Manifest.Warnings)
				assert.EqualValues(t, 1000, report.Manifest.RawSize)
				assert.EqualValues(t, 1000, last.Raw)
			})
		})
	}
}

// shortStorage says that it has kept less than it was given.
type shortStorage struct{ *Folder }

func (s shortStorage) Put(ctx context.Context, name string, write func(io.Writer) error) (int64, error) {
	n, err := s.Folder.Put(ctx, name, write)
	return n - 1, err
}

func TestStorageThatKeepsLess(t *testing.T) {
	t.Parallel()
	_, folder := newTestJob(t, newFake(1), nil)
	j, err := New("pos", newFake(1), shortStorage{folder}, &Options{Logger: silent})
	require.NoError(t, err)
	_, err = j.Backup(t.Context())
	require.ErrorContains(t, err, "the storage kept")
	require.Empty(t, files(t, folder))
}
