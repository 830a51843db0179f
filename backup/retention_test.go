package backup

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var retainNow = time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)

func entryAt(at time.Time, state State) Entry {
	id := newID("pos", at)
	return Entry{ID: id, State: state, Manifest: &Manifest{ID: id, Started: at, File: id + ".db"}}
}

func kept(decisions []Decision) (n int) {
	for _, d := range decisions {
		if d.Keep {
			n++
		}
	}
	return n
}

func daysAgo(n int) time.Time { return retainNow.AddDate(0, 0, -n) }

func policy(t testing.TB, p Policy) Policy {
	t.Helper()
	p.Zone = time.UTC
	if err := p.validate(); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestThirtyDays(t *testing.T) {
	var entries []Entry
	for day := range 40 {
		entries = append(entries, entryAt(daysAgo(day), Good))
	}
	decisions, err := plan(retainNow, entries, policy(t, Policy{}))
	if err != nil || kept(decisions) != 31 {
		t.Errorf("%d kept, %v", kept(decisions), err)
	}
	for _, d := range decisions {
		if len(d.Reasons) == 0 {
			t.Errorf("%s has no reason", d.Entry.ID)
		}
	}
}

// TestStoppedRunner: the runner stopped a year ago. Nothing may go, since age counts
// from the newest good backup.
func TestStoppedRunner(t *testing.T) {
	entries := []Entry{entryAt(daysAgo(365), Good), entryAt(daysAgo(366), Good), entryAt(daysAgo(380), Good), entryAt(daysAgo(390), Good)}
	decisions, err := plan(retainNow, entries, policy(t, Policy{}))
	if err != nil || kept(decisions) != 4 {
		t.Errorf("%d kept, %v", kept(decisions), err)
	}
}

func TestGrandfatherFatherSon(t *testing.T) {
	var entries []Entry
	for day := range 800 {
		entries = append(entries, entryAt(daysAgo(day), Good))
	}
	decisions, err := plan(retainNow, entries, policy(t, Policy{Daily: 7, Weekly: 4, Monthly: 12, Yearly: 2, Force: true}))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, d := range decisions {
		for _, reason := range d.Reasons {
			if d.Keep {
				counts[strings.Fields(reason)[0]]++
			}
		}
	}
	if counts["daily"] != 7 || counts["weekly"] != 4 || counts["monthly"] != 12 || counts["yearly"] != 2 {
		t.Errorf("kept %v", counts)
	}
}

func TestSuspended(t *testing.T) {
	old := []Entry{entryAt(daysAgo(40), Good), entryAt(daysAgo(50), Good), entryAt(daysAgo(60), Good), entryAt(daysAgo(90), Good), entryAt(daysAgo(91), Good)}
	for name, c := range map[string]struct {
		newest Entry
		force  bool
	}{
		"suspect":  {entryAt(daysAgo(0), Suspect), true},
		"future":   {entryAt(daysAgo(-2), Good), true},
		"all gone": {entryAt(daysAgo(0), Good), false},
	} {
		decisions, err := plan(retainNow, append([]Entry{c.newest}, old...), policy(t, Policy{Days: 5, MinKeep: 1, Force: c.force}))
		if !errors.Is(err, ErrSuspended) || kept(decisions) != 6 {
			t.Errorf("%s: %d kept, %v", name, kept(decisions), err)
		}
	}
	decisions, err := plan(retainNow, append([]Entry{entryAt(daysAgo(0), Good)}, old...), policy(t, Policy{Days: 5, MinKeep: 1, Force: true}))
	if err != nil || kept(decisions) != 1 {
		t.Errorf("forced: %d kept, %v", kept(decisions), err)
	}
}

// TestMaxBytes: the oldest that only rules keep make room, whatever they take; the others
// stay, however much that is.
func TestMaxBytes(t *testing.T) {
	var entries []Entry
	for day := range 10 {
		e := entryAt(daysAgo(day), Good)
		e.Manifest.Size = 10
		entries = append(entries, e)
	}
	entries[8].Pinned = true
	for limit, want := range map[int64]int{1000: 10, 100: 10, 99: 9, 71: 7, 45: 4, 1: 4} {
		decisions, err := plan(retainNow, entries, policy(t, Policy{MaxBytes: limit, Force: true}))
		if err != nil || kept(decisions) != want || !decisions[8].Keep {
			t.Errorf("%d bytes: %d kept, want %d, %v", limit, kept(decisions), want, err)
		}
		for i := 1; i < len(decisions); i++ {
			if decisions[i].Keep && !decisions[i-1].Keep && i != 8 {
				t.Errorf("%d bytes: number %d stays and a newer one goes", limit, i)
			}
		}
	}
	if _, err := plan(retainNow, entries, policy(t, Policy{MaxBytes: 1})); !errors.Is(err, ErrSuspended) {
		t.Errorf("more than half would go: %v", err)
	}
}

// TestNeverTheLastGoodOne plans over random histories and policies: what must never be
// deleted is not, and planning again after deleting deletes nothing more.
func TestNeverTheLastGoodOne(t *testing.T) {
	for seed := range uint64(2000) {
		dice := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // the same histories each time
		var entries []Entry
		for range between(dice, 0, 60) {
			at := retainNow.Add(-time.Duration(between(dice, -72, 20_000)) * time.Hour)
			e := entryAt(at, []State{Good, Good, Good, Suspect, Damaged, Unknown}[dice.IntN(6)])
			e.Pinned = between(dice, 0, 9) == 0
			if between(dice, 0, 4) == 0 {
				e.RestoreTest = &RestoreTest{Time: at.Add(time.Minute), OK: dice.IntN(2) == 0}
			}
			e.Manifest.Size = dice.Int64N(101)
			if e.State == Unknown {
				e.Manifest = nil
			}
			entries = append(entries, e)
		}
		p := Policy{
			Days: between(dice, 0, 60), Last: dice.IntN(9), Daily: dice.IntN(9), Weekly: dice.IntN(9),
			Monthly: dice.IntN(9), Yearly: dice.IntN(9), MinKeep: dice.IntN(9), Zone: time.UTC, Force: dice.IntN(2) == 0,
			MaxBytes: []int64{0, 0, 500, 2000}[dice.IntN(4)],
		}
		if err := p.validate(); err != nil {
			t.Fatal(err)
		}
		decisions, err := plan(retainNow, entries, p)
		if len(decisions) != len(entries) {
			t.Fatalf("history %d: %d decisions about %d backups", seed, len(decisions), len(entries))
		}
		good, deleted, keptGood := 0, 0, 0
		restored := false
		var left []Entry
		for _, d := range decisions { // the newest first
			switch {
			case !d.Keep && (d.Entry.Pinned || d.Entry.State == Damaged || d.Entry.State == Unknown || d.Entry.Time().After(retainNow)):
				t.Fatalf("history %d: deletes %s (%s, pinned %v)", seed, d.Entry.ID, d.Entry.State, d.Entry.Pinned)
			case !d.Keep && err != nil:
				t.Fatalf("history %d: deletes although suspended: %v", seed, err)
			}
			if d.Entry.usable() && !d.Entry.Restored().IsZero() && !d.Entry.Time().After(retainNow) && !restored {
				if restored = true; !d.Keep {
					t.Fatalf("history %d: deletes %s, the newest that a restore test restored", seed, d.Entry.ID)
				}
			}
			if d.Entry.usable() && !d.Entry.Time().After(retainNow) {
				if good++; good <= p.MinKeep && !d.Keep {
					t.Fatalf("history %d: deletes good backup number %d of the %d that stay", seed, good, p.MinKeep)
				}
				if d.Keep {
					keptGood++
				} else {
					deleted++
				}
			}
			if d.Keep {
				left = append(left, d.Entry)
			}
		}
		if good > 0 && keptGood == 0 {
			t.Fatal("deletes the last good backup")
		}
		if deleted > 0 && 2*deleted > good && !p.Force && good == countGood(entries) {
			t.Fatalf("history %d: deletes %d of %d unforced", seed, deleted, good)
		}
		if err == nil {
			again, err := plan(retainNow, left, p)
			if err != nil || kept(again) != len(left) {
				t.Fatalf("history %d: a second run deletes more: %d of %d kept, %v", seed, kept(again), len(left), err)
			}
		}
	}
}

func between(dice *rand.Rand, least, most int) int { return least + dice.IntN(most-least+1) }

func countGood(entries []Entry) (n int) {
	for _, e := range entries {
		if e.usable() {
			n++
		}
	}
	return n
}

// TestRetentionOnDisk runs a job for many days with a clock of its own.
func TestRetentionOnDisk(t *testing.T) {
	source := newFake(5)
	j, folder := newTestJob(t, source, &Options{Compression: None, Retention: Policy{Days: 3, MinKeep: 2}})
	day := 0
	j.now = func() time.Time { return retainNow.AddDate(0, 0, day) }
	var first string
	for day = range 10 {
		m := mustBackup(t, j)
		if day == 0 {
			first = m.ID
			if err := j.Pin(t.Context(), first, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, err := j.List(t.Context())
	if err != nil || len(entries) != 5 || entries[4].ID != first || !entries[4].Pinned {
		t.Errorf("%d left, %v", len(entries), err)
	}
	if n := len(files(t, folder)); n != 3*5+1 { // artefact, manifest, verification; one pin
		t.Errorf("%d files for %d backups", n, len(entries))
	}
	day = 300
	source.dump = nil
	if decisions, err := j.Prune(t.Context(), Policy{Days: 3, MinKeep: 2}, true); err != nil || kept(decisions) != 5 {
		t.Errorf("a job that stopped: %d kept, %v", kept(decisions), err)
	}
	if err := j.Pin(t.Context(), first, false); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Prune(t.Context(), Policy{Days: 3, MinKeep: 2}, false); err != nil {
		t.Fatal(err)
	}
	if entries, _ := j.List(t.Context()); len(entries) != 4 {
		t.Error(fmt.Sprint("unpinned and still there: ", len(entries)))
	}
	if err := j.Pin(t.Context(), "../../etc/passwd", true); err == nil {
		t.Error("a pin outside of the folder")
	}
}

// TestKeepForEver: no number of days, periods or backups is too large.
func TestKeepForEver(t *testing.T) {
	var entries []Entry
	for day := range 40 {
		entries = append(entries, entryAt(daysAgo(day*30), Good))
	}
	for _, p := range []Policy{{Days: 100_000}, {Days: 200_000}, {Days: 999_999}, {Days: math.MaxInt}, {Days: math.MaxInt, Last: math.MaxInt, Daily: 2}} {
		decisions, err := plan(retainNow, entries, policy(t, p))
		if err != nil || kept(decisions) != len(entries) {
			t.Errorf("%+v: %d of %d kept, %v", p, kept(decisions), len(entries), err)
		}
	}
	o := RestoreTestOptions{At: newScratch(1), Every: math.MaxInt64 / 2}
	if within, asked := o.limit(); !asked || within < o.Every {
		t.Errorf("a limit of %v", within)
	}
}

// Backups that failed their restore test replace none that may be restored, here and in a
// target.
func TestFailedRestoreTestSuspends(t *testing.T) {
	t.Parallel()
	source := newScratch(7)
	attic, err := NewFolder(filepath.Join(t.TempDir(), "attic"))
	require.NoError(t, err)
	j, _ := newTestJob(t, source, &Options{
		Retention: Policy{Days: 30}, RestoreTest: RestoreTestOptions{Every: -1},
		Targets: []Target{{Name: "attic", Storage: attic, Retention: Policy{Days: 30}}},
	})
	now := clock(j)
	old := []string{mustBackup(t, j).ID, mustBackup(t, j).ID}
	source.restore = errors.New("syntax error")
	*now = now.AddDate(0, 0, 40)
	for i := range 4 {
		*now = now.Add(time.Hour)
		r, err := j.Backup(t.Context())
		require.NotNil(t, r.Manifest)
		if i > 0 {
			require.ErrorIs(t, err, ErrSuspended)
			require.Contains(t, r.Targets[0].Error, "the newest restore test")
		}
		_, err = j.TestRestore(t.Context(), r.ID)
		require.ErrorIs(t, err, ErrVerification)
		for _, id := range old {
			for _, j := range []*Job{j, targetOf(t, j, "attic")} {
				_, err := j.Find(t.Context(), id)
				require.NoError(t, err)
			}
		}
	}
	_, err = targetOf(t, j, "attic").Check(t.Context(), time.Hour)
	require.ErrorIs(t, err, ErrVerification)

	// The cause is fixed.
	source.restore = nil
	*now = now.Add(time.Hour)
	j.opts.RestoreTest.Every = 1
	for range 3 {
		mustBackup(t, j)
		*now = now.Add(time.Minute)
	}
	for _, j := range []*Job{j, targetOf(t, j, "attic")} {
		entries, err := j.List(t.Context())
		require.NoError(t, err)
		require.False(t, slices.ContainsFunc(entries, func(e Entry) bool { return slices.Contains(old, e.ID) }))
		_, err = j.Check(t.Context(), time.Hour)
		require.NoError(t, err)
	}
}
