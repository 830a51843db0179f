package backup

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// usualRuns is the number of good backups that define what is usual.
const usualRuns = 7

const (
	// fewRows is the minimum number of rows before a loss of rows is reported. A table must
	// always have had as many. A queue is often empty.
	fewRows = 10
	// sampleBytes is the minimum size of the rows of a table before their compression ratio
	// is compared.
	sampleBytes = 32 << 10
)

// suspicion compares a new backup with earlier good ones, and reports everything that an
// operator should examine. It does not report growth, deleted old rows, or rows with
// changed text.
func suspicion(m *Manifest, before []Entry) string {
	if len(m.Tables) == 0 && m.Engine != "" && m.Engine != "command" {
		return "there is no table in it"
	}
	var why reasons
	last := newest(before, Entry.good)
	known := make(map[driver.Skipped]bool) // accepted
	if last != nil {
		for _, skipped := range last.Manifest.Skipped {
			known[skipped] = true
		}
	}
	for _, skipped := range m.Skipped {
		if !known[skipped] {
			why.add("it does not hold the %s: %s", skipped.Object, skipped.Reason)
		}
	}
	if last == nil {
		return brief(why)
	}
	now, usual := tablesOf(m), usualOf(before)
	for _, t := range last.Manifest.Tables {
		if _, there := now[t.Name]; !there {
			why.add("the table %s is gone", t.Name)
		}
	}
	history := make([]map[string]driver.Table, len(usual))
	for i, u := range usual {
		history[i] = tablesOf(u)
	}
	for _, t := range m.Tables {
		why.table(t, history)
	}
	why.totals(m, usual)
	for _, kind := range []struct {
		name      string
		was, isnt int64
	}{{"triggers", last.Manifest.Triggers, m.Triggers}, {"routines", last.Manifest.Routines, m.Routines}, {"events", last.Manifest.Events, m.Events}, {"views", last.Manifest.Views, m.Views}} {
		if kind.was > 0 && kind.isnt == 0 {
			why.add("the last backup had %d %s and this one has none: a missing privilege?", kind.was, kind.name)
		}
	}
	return brief(why)
}

// usualOf returns the newest good backups, the newest first. An accepted one ends them: older
// backups no longer count as usual.
func usualOf(before []Entry) (usual []*Manifest) {
	for _, e := range before {
		if e.good() && len(usual) < usualRuns {
			usual = append(usual, e.Manifest)
		}
		if e.Accepted {
			break
		}
	}
	return usual
}

// reasons are why a backup is suspect.
type reasons []string

func (r *reasons) add(format string, args ...any) { *r = append(*r, fmt.Sprintf(format, args...)) }

// table compares a table with the same table in earlier backups.
func (r *reasons) table(t driver.Table, history []map[string]driver.Table) {
	var rows, size, packed []int64
	var tables []driver.Table
	for _, h := range history {
		if was, there := h[t.Name]; there {
			tables = append(tables, was)
			rows, size = append(rows, was.Rows), append(size, was.Bytes)
			if was.Packed > 0 && was.Bytes > 0 {
				packed = append(packed, was.Packed*1000/was.Bytes)
			}
		}
	}
	if len(rows) == 0 {
		return
	}
	if least := slices.Min(rows); least >= fewRows && 2*t.Rows < least {
		r.add("the table %s has %d rows, and never less than %d before", t.Name, t.Rows, least)
	}
	if len(packed) > 0 && t.Packed > 0 && t.Bytes >= sampleBytes && t.Bytes < 2*median(size) {
		if is, was := t.Packed*1000/t.Bytes, median(packed); is >= 750 && is >= was+200 {
			r.add("the rows of the table %s compress to %d %% of their length, where %d %% are usual: were they replaced by noise, or encrypted?", t.Name, is/10, was/10)
		}
	}
	for _, c := range t.Columns {
		if what := changedEverywhere(c, tables); what != "" {
			r.add("the column %s of the table %s %s", c.Name, t.Name, what)
		}
	}
}

// totals compares the sums over all tables.
func (r *reasons) totals(m *Manifest, usual []*Manifest) {
	var sizes, rows, ratios []int64
	for _, u := range usual {
		sizes, rows = append(sizes, u.RawSize), append(rows, u.RowsTotal)
		if u.Compression == m.Compression && m.Compression != None && u.RawSize > 0 {
			ratios = append(ratios, u.Size*1000/u.RawSize)
		}
	}
	if usual := median(rows); 2*m.RowsTotal < usual {
		r.add("%d rows, where %d are usual", m.RowsTotal, usual)
	}
	size := median(sizes)
	if 2*m.RawSize < size {
		r.add("%d bytes, where %d are usual", m.RawSize, size)
	}
	if len(ratios) > 0 && m.RawSize >= sampleBytes && 2*m.RawSize > size && m.RawSize < 2*size {
		if is, was := m.Size*1000/m.RawSize, median(ratios); is >= 400 && is >= 2*was {
			r.add("the dump compresses to %d %% of its size, where %d %% are usual: was text replaced by noise, or encrypted?", is/10, was/10)
		}
	}
}

const (
	// fewSampled and fewDistinct are the minimum numbers of rows and of values that a
	// column must have had in a sample before their loss is reported.
	fewSampled, fewDistinct = 20, 20
	// columnBytes is the minimum length of the values before their compression is compared.
	columnBytes = 2 << 10
)

// changedEverywhere reports a column whose values became empty, equal, or random in nearly
// all rows. It returns "" if no column did.
func changedEverywhere(now driver.Column, tables []driver.Table) string {
	var empty, distinct, packed []int64
	for _, t := range tables {
		for _, c := range t.Columns {
			if c.Name != now.Name || c.Rows < fewSampled {
				continue
			}
			empty, distinct = append(empty, c.Empty*1000/c.Rows), append(distinct, c.Distinct)
			if c.Bytes > 0 {
				packed = append(packed, c.Packed*1000/c.Bytes)
			}
		}
	}
	if len(empty) == 0 || now.Rows < fewSampled {
		return ""
	}
	if is, was := now.Empty*1000/now.Rows, slices.Max(empty); is >= 990 && was <= 500 {
		return fmt.Sprintf("is empty in %d %% of the rows, and never was in more than %d %%", is/10, was/10)
	}
	if was := slices.Min(distinct); was >= fewDistinct && now.Distinct <= 2 {
		return fmt.Sprintf("has %d different values, and never less than %d before: an UPDATE without its WHERE?", now.Distinct, was)
	}
	if len(packed) > 0 && now.Bytes >= columnBytes {
		if is, was := now.Packed*1000/now.Bytes, median(packed); is >= 750 && is >= was+200 {
			return fmt.Sprintf("compresses to %d %% of its length, where %d %% are usual: was it replaced by noise, or encrypted?", is/10, was/10)
		}
	}
	return ""
}

// lacking warns of the objects that a backup does not hold.
func lacking(all []driver.Skipped) (warnings []string) {
	var objects []string
	for _, s := range all {
		objects = append(objects, fmt.Sprintf("%s: %s", s.Object, s.Reason))
	}
	if len(objects) > 0 {
		warnings = append(warnings, "the backup does not hold the "+brief(objects))
	}
	return warnings
}

// brief joins the first few reasons.
func brief(why []string) string {
	const most = 5
	if len(why) > most {
		why = append(why[:most:most], fmt.Sprintf("and %d more", len(why)-most))
	}
	return strings.Join(why, "; ")
}

func tablesOf(m *Manifest) map[string]driver.Table {
	tables := make(map[string]driver.Table, len(m.Tables))
	for _, t := range m.Tables {
		tables[t.Name] = t
	}
	return tables
}

func median(list []int64) int64 {
	if len(list) == 0 {
		return 0
	}
	list = slices.Clone(list)
	sort.Slice(list, func(a, b int) bool { return list[a] < list[b] })
	return list[len(list)/2]
}
