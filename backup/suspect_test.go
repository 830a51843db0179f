package backup

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// measured is a table of rows of text.
func measuredRows(name string, rows int, text func(i int) string) driver.Table {
	var m driver.Meter
	for i := range rows {
		m.Row([]byte(text(i)))
	}
	return m.Table(name)
}

var words = strings.Fields("the customer paid in cash and took two bags of apples home because rain was near while other people waited at a till")

// prose is ordinary text.
func prose(seed uint64) func(int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	return func(int) string {
		var b strings.Builder
		for range 12 {
			b.WriteString(words[r.IntN(len(words))] + " ")
		}
		return b.String()
	}
}

func noise(int) string {
	var b strings.Builder
	for range 64 {
		b.WriteByte("0123456789abcdef"[rand.IntN(16)])
	}
	return b.String()
}

func TestSuspicionByTable(t *testing.T) {
	t.Parallel()
	const rows = 3000
	usual := func() []driver.Table {
		return []driver.Table{measuredRows("a", rows, prose(1)), measuredRows("b", rows, prose(2)), {Name: "queue", Rows: 3}}
	}
	for name, c := range map[string]struct {
		change func(tables []driver.Table)
		want   string // "" for a good one
	}{
		"nothing":               {func([]driver.Table) {}, ""},
		"growth":                {func(l []driver.Table) { l[0] = measuredRows("a", 3*rows, prose(1)) }, ""},
		"old rows deleted":      {func(l []driver.Table) { l[0] = measuredRows("a", rows*2/3, prose(1)) }, ""},
		"other text in all":     {func(l []driver.Table) { l[0] = measuredRows("a", rows, prose(9)) }, ""},
		"an empty queue":        {func(l []driver.Table) { l[2].Rows = 0 }, ""},
		"a table emptied":       {func(l []driver.Table) { l[1] = measuredRows("b", 0, noise) }, "the table b has 0 rows"},
		"most rows lost":        {func(l []driver.Table) { l[1] = measuredRows("b", rows/3, prose(2)) }, "the table b has 1000 rows"},
		"noise in place of it":  {func(l []driver.Table) { l[0] = measuredRows("a", rows, noise) }, "the rows of the table a compress to"},
		"a new table of photos": {func(l []driver.Table) { l[2] = measuredRows("photos", rows, noise) }, "the table queue is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := newFake(0)
			j, _ := newTestJob(t, source, nil)
			for range 3 {
				source.contents.Tables = usual()
				mustBackup(t, j)
			}
			source.contents.Tables = usual()
			c.change(source.contents.Tables)
			report, err := j.Backup(t.Context())
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrSuspect)
			require.Contains(t, report.Manifest.Suspect, c.want)
			assert.NotContains(t, strings.Replace(report.Manifest.Suspect, c.want, "", 1), "the table b has")
			require.NoError(t, j.Accept(t.Context(), report.Manifest.ID))
			mustBackup(t, j) // it is usual from now on
		})
	}
}

// An object that a dump cannot hold makes it suspect once, until an operator accepts it.
func TestSuspicionOfSkippedObjects(t *testing.T) {
	t.Parallel()
	source := newFake(5)
	j, _ := newTestJob(t, source, nil)
	mustBackup(t, j)
	source.contents.Skipped = []driver.Skipped{{Object: "view v", Reason: "its table is gone"}}
	report, err := j.Backup(t.Context())
	require.ErrorIs(t, err, ErrSuspect)
	require.Contains(t, report.Manifest.Suspect, "view v: its table is gone")
	require.NoError(t, j.Accept(t.Context(), report.Manifest.ID))
	mustBackup(t, j)
	back, err := j.Restore(t.Context(), report.Manifest.ID, "", nil)
	require.NoError(t, err)
	require.Contains(t, back.Contents.Warnings, "the backup does not hold the view v: its table is gone")
}
