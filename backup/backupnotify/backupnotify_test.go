package backupnotify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/notify"
)

// inbox is who is told.
type inbox struct {
	mu     sync.Mutex
	got    []notify.Message
	refuse error
}

func (i *inbox) Notify(_ context.Context, m notify.Message) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.refuse != nil {
		return i.refuse
	}
	i.got = append(i.got, m)
	return nil
}

// take returns the subjects since the last call.
func (i *inbox) take() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var subjects []string
	for _, m := range i.got {
		subjects = append(subjects, m.Subject)
	}
	i.got = nil
	return subjects
}

var (
	good      = backup.Run{Manifest: &backup.Manifest{ID: "pos_20260101T020000Z_abcdef"}}
	none      = backup.Run{}
	errDump   = &backup.StageError{Stage: "dump", Err: errors.New("access denied")}
	errLater  = &backup.StageError{Stage: "retain", Published: true, Err: errors.New("disk")}
	errVerify = &backup.StageError{Stage: "verify", Published: true, Err: fmt.Errorf("%w: its checksum is wrong", backup.ErrVerification)}
	errOdd    = &backup.StageError{Stage: "retain", Published: true, Err: fmt.Errorf("%w: a table is gone", backup.ErrSuspect)}
	errBusy   = &backup.StageError{Stage: "lock", Err: backup.ErrLocked}
)

func notices(t *testing.T, to notify.Notifier, o Options) *Notices {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	n, err := New("pos", to, &o)
	require.NoError(t, err)
	return n
}

const (
	subjectFailed    = "[BACKUP] pos: FAILED"
	subjectRecovered = "[BACKUP RECOVERED] pos"
	subjectWeek      = "[BACKUP] pos: the week"
	subjectGood      = "[BACKUP] pos: good"
	subjectLocked    = "[BACKUP] pos: another run holds the lock"
	subjectVerify    = "[BACKUP] pos: the new backup did not pass its verification"
	subjectSuspect   = "[BACKUP] pos: the new backup is suspect"
	subjectLater     = "[BACKUP] pos: published, with a problem"
	subjectStale     = "[BACKUP] pos: no recent backup"
)

// TestNights goes through nights of a job with three retries each, and names what people
// hear, in each mode.
func TestNights(t *testing.T) {
	t.Parallel()
	type night struct {
		outcomes []error // of the runs, a quarter of an hour apart; nil is a good one
		change   []string
		failure  []string
	}
	nights := []night{
		{outcomes: []error{nil}},
		{outcomes: []error{errDump, errDump, errDump, errDump}, change: []string{subjectFailed}, failure: []string{subjectFailed}},
		{outcomes: []error{errDump, errDump, errDump, errDump}, change: []string{subjectFailed}, failure: []string{subjectFailed}},
		{outcomes: []error{errDump, nil}, change: []string{subjectFailed, subjectRecovered}, failure: []string{subjectFailed}},
		{outcomes: []error{nil}},
		{outcomes: []error{errOdd}, change: []string{subjectSuspect}, failure: []string{subjectSuspect}},
		{outcomes: []error{nil}, change: []string{subjectRecovered}},
		{outcomes: []error{nil}, change: []string{subjectWeek}},
		{outcomes: []error{errVerify}, change: []string{subjectVerify}, failure: []string{subjectVerify}},
		{outcomes: []error{errLater}, change: []string{subjectLater}, failure: []string{subjectLater}},
		{outcomes: []error{errLater, nil}, change: []string{subjectLater, subjectRecovered}, failure: []string{subjectLater}},
		{outcomes: []error{errBusy}},
		{outcomes: []error{errBusy}},
		{outcomes: []error{errBusy}, change: []string{subjectLocked}, failure: []string{subjectLocked}},
		{outcomes: []error{nil}, change: []string{subjectRecovered}},
		{outcomes: []error{nil}, change: []string{subjectWeek}},
		{outcomes: []error{nil}},
	}
	for _, mode := range []Mode{Change, Failure} {
		synctest.Test(t, func(t *testing.T) {
			to := &inbox{}
			path := filepath.Join(t.TempDir(), "state", "told.json")
			for i, night := range nights {
				for _, outcome := range night.outcomes {
					// Each run is another process.
					n := notices(t, to, Options{Mode: mode, State: path})
					report := good
					if errors.Is(outcome, errDump) || errors.Is(outcome, errBusy) {
						report = none
					}
					require.NoError(t, n.Ran(t.Context(), report, outcome))
					time.Sleep(15 * time.Minute)
				}
				want := night.change
				if mode == Failure {
					want = night.failure
				}
				require.Equal(t, want, to.take(), "night %d, %s", i, mode)
				time.Sleep(24*time.Hour - time.Duration(len(night.outcomes))*15*time.Minute)
			}
		})
	}
}

func TestAlways(t *testing.T) {
	t.Parallel()
	to := &inbox{}
	n := notices(t, to, Options{Mode: Always})
	require.NoError(t, n.Ran(t.Context(), good, nil))
	require.NoError(t, n.Ran(t.Context(), good, nil))
	require.Equal(t, []string{subjectGood, subjectGood}, to.take())
}

// TestNobodyListens: what could not be told is told later, and there is no recovery from
// what nobody heard of.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	to := &inbox{refuse: errors.New("no route")}
	n := notices(t, to, Options{State: filepath.Join(t.TempDir(), "told.json")})
	require.ErrorIs(t, n.Ran(t.Context(), none, errDump), to.refuse)
	to.refuse = nil
	require.NoError(t, n.Ran(t.Context(), good, nil))
	require.Empty(t, to.take())

	require.NoError(t, n.Ran(t.Context(), none, errDump))
	to.take()
	to.refuse = errors.New("no route")
	require.Error(t, n.Ran(t.Context(), good, nil))
	to.refuse = nil
	require.NoError(t, n.Ran(t.Context(), good, nil))
	require.Equal(t, []string{subjectRecovered}, to.take())
}

func TestStale(t *testing.T) {
	t.Parallel()
	to := &inbox{}
	n := notices(t, to, Options{})
	errStale := backup.Problems{{Kind: backup.ErrStale, Text: "there is none"}}
	require.NoError(t, n.checked(t.Context(), nil))
	require.NoError(t, n.checked(t.Context(), errStale))
	require.NoError(t, n.checked(t.Context(), errStale))
	require.Equal(t, []string{subjectStale}, to.take())
	require.NoError(t, n.Ran(t.Context(), good, nil))
	require.Equal(t, []string{subjectRecovered}, to.take())
	// Of a failing run people know already.
	require.NoError(t, n.Ran(t.Context(), none, errDump))
	require.NoError(t, n.checked(t.Context(), errStale))
	require.Equal(t, []string{subjectFailed}, to.take())
}

// TestKinds: no problem hides another one, or its end.
func TestKinds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		to := &inbox{}
		status := backup.Status{}
		n := notices(t, to, Options{Status: func(context.Context) (backup.Status, error) { return status, nil }})
		check := func(kinds ...error) {
			t.Helper()
			var found backup.Problems
			for _, kind := range kinds {
				found = append(found, backup.Problem{Kind: kind, Text: "x"})
			}
			var err error
			if found != nil {
				err = found
			}
			require.NoError(t, n.checked(t.Context(), err))
		}
		// Runs stop after one with a smaller problem.
		require.NoError(t, n.Ran(t.Context(), good, errLater))
		require.Equal(t, []string{subjectLater}, to.take())
		check(backup.ErrTarget)
		require.Empty(t, to.take(), "the run has told it")
		time.Sleep(time.Hour)
		check(backup.ErrStale, backup.ErrTarget)
		require.Equal(t, []string{subjectStale}, to.take())
		time.Sleep(21 * time.Hour)
		check(backup.ErrStale)
		require.Equal(t, []string{subjectStale}, to.take(), "a reminder")

		// A suspect backup hides no interrupted restore.
		check(backup.ErrStale, backup.ErrSuspect, backup.ErrHalfway)
		require.ElementsMatch(t, []string{subjectSuspect, "[BACKUP] pos: a restore is unfinished"}, to.take())

		// A good run ends its problems only.
		status.Damaged = 1
		check(backup.ErrHalfway, backup.ErrDamaged)
		require.ElementsMatch(t, []string{"[BACKUP] pos: a stored backup is damaged", "[BACKUP] pos: a problem is over"}, to.take())
		require.NoError(t, n.Ran(t.Context(), good, nil))
		require.Equal(t, []string{"[BACKUP] pos: a problem is over"}, to.take())
		status.Damaged = 0
		check(backup.ErrHalfway)
		require.Equal(t, []string{"[BACKUP] pos: a problem is over"}, to.take())
		check()
		require.Equal(t, []string{subjectRecovered}, to.take())
		check()
		require.Empty(t, to.take())

		// A failed run and a storage that cannot be read.
		require.NoError(t, n.Ran(t.Context(), none, errDump))
		require.NoError(t, n.checked(t.Context(), errors.New("input/output error")))
		require.Equal(t, []string{subjectFailed}, to.take())
		time.Sleep(21 * time.Hour)
		require.NoError(t, n.checked(t.Context(), errors.New("input/output error")))
		require.Equal(t, []string{"[BACKUP] pos: the backups cannot be read"}, to.take())
		check()
		require.Equal(t, []string{"[BACKUP] pos: a problem is over"}, to.take())
		require.NoError(t, n.Ran(t.Context(), good, nil))
		require.Equal(t, []string{subjectRecovered}, to.take())

		// A run with two problems has one message, and both are open.
		both := &backup.StageError{Stage: "scrub", Published: true, Err: errors.Join(backup.ErrDamaged, backup.ErrSuspect)}
		require.NoError(t, n.Ran(t.Context(), good, both))
		check(backup.ErrDamaged, backup.ErrSuspect)
		require.Equal(t, []string{"[BACKUP] pos: a stored backup is damaged"}, to.take())
		check(backup.ErrDamaged)
		require.Equal(t, []string{"[BACKUP] pos: a problem is over"}, to.take())
	})
}

// TestState: nothing about the file silences a failure.
func TestState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "told.json")
	for name, prepare := range map[string]func() error{
		"nothing":   func() error { return nil },
		"cut":       func() error { return os.WriteFile(path, []byte(`{"problem":"fai`), 0o600) },
		"a folder":  func() error { return os.Mkdir(path, 0o700) },
		"no folder": func() error { return os.WriteFile(filepath.Join(dir, "file"), nil, 0o600) },
		"future": func() error {
			return os.WriteFile(path, []byte(`{"open":{"failed":{"since":"2999-01-01T00:00:00Z","told":"2999-01-01T00:00:00Z"},"stale":null}}`), 0o600)
		},
	} {
		require.NoError(t, os.RemoveAll(path))
		require.NoError(t, prepare(), name)
		state := path
		if name == "no folder" {
			state = filepath.Join(dir, "file", "told.json")
		}
		to := &inbox{}
		require.NoError(t, notices(t, to, Options{State: state}).Ran(t.Context(), none, errDump), name)
		require.Equal(t, []string{subjectFailed}, to.take(), name)
	}
	for _, bad := range []Options{{Mode: "loud"}, {RemindAfter: -1}, {MaxAge: -1}} {
		_, err := New("pos", &inbox{}, &bad)
		require.Error(t, err)
	}
	_, err := New("pos", nil, nil)
	require.Error(t, err)
}

// TestPanics calls a notifier and a Status that panic. The next message is sent as after an error.
func TestPanics(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"", filepath.Join(t.TempDir(), "told.json")} {
		broken := notifierFunc(func(context.Context, notify.Message) error { panic("no channel") })
		n := notices(t, broken, Options{State: state})
		require.ErrorContains(t, n.Ran(t.Context(), none, errDump), "no channel")
		require.ErrorContains(t, n.Ran(t.Context(), none, errDump), "no channel")

		n = notices(t, broken, Options{State: state, Status: func(context.Context) (backup.Status, error) { panic("no status") }})
		for range 2 {
			require.Panics(t, func() { _ = n.Ran(t.Context(), none, errDump) })
		}
	}
}

type notifierFunc func(context.Context, notify.Message) error

func (f notifierFunc) Notify(ctx context.Context, m notify.Message) error { return f(ctx, m) }

// TestTogether: processes that fail at once send one message.
func TestTogether(t *testing.T) {
	t.Parallel()
	to := &inbox{}
	path := filepath.Join(t.TempDir(), "told.json")
	var wg sync.WaitGroup
	for range 8 {
		n := notices(t, to, Options{State: path})
		wg.Go(func() {
			if err := n.Ran(context.Background(), none, errDump); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, []string{subjectFailed}, to.take())
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, strings.Contains(string(data), `"failed":8`), "%s", data)
}
