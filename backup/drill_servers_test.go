//go:build engines

package backup

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// checkDrills holds a server's scratch databases to what they promise. dump is one of
// the database shop, which has a table t with 3 rows, and databases lists the server's.
func checkDrills(t *testing.T, source interface {
	Source
	ScratchRestorer
}, exec func(string), databases func() []string,
) {
	t.Helper()
	var dump bytes.Buffer
	want, err := source.Dump(t.Context(), &dump)
	require.NoError(t, err)
	before := databases()
	asked := false
	asks := func(ctx context.Context, db Queryer, got Contents) error {
		asked = true
		require.NoError(t, sameContents(want, got))
		require.NoError(t, (&Assertion{Query: "SELECT COUNT(*) = 3 FROM t"}).holds(ctx, db))
		require.Error(t, (&Assertion{Query: "SELECT COUNT(*) = 4 FROM t"}).holds(ctx, db))
		scratch := slices.DeleteFunc(databases(), func(name string) bool { return slices.Contains(before, name) })
		require.Len(t, scratch, 1)
		require.True(t, staleScratch("shop", scratch[0], time.Now().Add(time.Hour)), scratch[0])
		return nil
	}
	require.NoError(t, source.RestoreScratch(t.Context(), bytes.NewReader(dump.Bytes()), want, asks))
	require.True(t, asked)
	require.Equal(t, before, databases())

	// Whatever happens meanwhile, the scratch database goes.
	errNo := errors.New("no")
	require.ErrorIs(t, source.RestoreScratch(t.Context(), bytes.NewReader(dump.Bytes()), want, func(context.Context, Queryer, Contents) error { return errNo }), errNo)
	ctx, cancel := context.WithCancel(t.Context())
	require.Error(t, source.RestoreScratch(ctx, bytes.NewReader(dump.Bytes()), want, func(ctx context.Context, db Queryer, _ Contents) error {
		cancel()
		_, err := db.QueryContext(ctx, "SELECT 1")
		return err
	}))
	ctx, cancel = context.WithCancel(t.Context())
	require.Error(t, source.RestoreScratch(ctx, &cutReader{data: dump.Bytes()[:dump.Len()/2], then: cancel}, want, asks), "cancelled in the middle")
	require.Error(t, source.RestoreScratch(t.Context(), bytes.NewReader(dump.Bytes()[:dump.Len()/2]), want, asks), "a cut dump")
	require.Equal(t, before, databases())

	// What a killed process left is dropped when it is old, and nothing else is.
	old, young := "shop_scratch_20200102t030405_abcdef", scratchName("shop", time.Now())
	others := []string{"shop_scratch_mine", "other_scratch_20200102t030405_abcdef", young}
	for _, name := range append(others, old) {
		exec("CREATE DATABASE " + name)
	}
	dropped, err := source.SweepScratch(t.Context(), time.Now().Add(-24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, []string{old}, dropped)
	for _, name := range others {
		assert.Contains(t, databases(), name)
		exec("DROP DATABASE " + name)
	}

	// A whole run, and an account that may not create databases.
	j, _ := newTestJob(t, source, &Options{Drill: DrillOptions{Assertions: []Assertion{{Name: "three", Query: "SELECT COUNT(*) = 3 FROM t"}}}})
	report, err := j.Backup(t.Context())
	require.NoError(t, err)
	require.True(t, report.Drilled)
	v, err := j.Drill(t.Context(), "")
	require.NoError(t, err)
	require.EqualValues(t, 3, v.Drill.Rows)
	require.Equal(t, []AssertionResult{{Name: "three", OK: true}}, v.Drill.Assertions)
	require.Equal(t, before, databases())
}

// checkNoRightToDrill: who may not create databases still has good backups.
func checkNoRightToDrill(t *testing.T, source Source) {
	t.Helper()
	j, _ := newTestJob(t, source, nil)
	report, err := j.Backup(t.Context())
	require.NoError(t, err)
	require.False(t, report.Drilled)
	require.Contains(t, strings.Join(report.Warnings, ";"), "create the database")
	_, err = j.Drill(t.Context(), "")
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrVerification)
	e, err := j.Find(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, Good, e.State)
	require.Nil(t, e.Drill)
}

// cutReader calls then after its data and waits.
type cutReader struct {
	data []byte
	then func()
}

func (r *cutReader) Read(p []byte) (int, error) {
	if len(r.data) > 0 {
		n := copy(p, r.data)
		r.data = r.data[n:]
		return n, nil
	}
	r.then()
	time.Sleep(50 * time.Millisecond)
	return 0, errors.New("the feed ended")
}
