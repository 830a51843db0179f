package backup

import (
	"fmt"
	"sort"
)

// suspicion compares a new backup with the good ones before it.
func suspicion(m *Manifest, before []Entry) string {
	if len(m.Tables) == 0 && m.Engine != "" && m.Engine != "command" {
		return "there is no table in it"
	}
	if len(m.Skipped) > 0 {
		return fmt.Sprintf("it does not hold the %s: %s", m.Skipped[0].Object, m.Skipped[0].Reason)
	}
	var sizes, rows []int64
	for _, e := range before {
		if e.good() && len(sizes) < 7 {
			sizes, rows = append(sizes, e.Manifest.RawSize), append(rows, e.Manifest.RowsTotal)
		}
		if e.Accepted {
			break // what was usual before has ended with it
		}
	}
	last := newest(before, Entry.good)
	if last == nil {
		return ""
	}
	now := make(map[string]bool, len(m.Tables))
	for _, t := range m.Tables {
		now[t.Name] = true
	}
	for _, t := range last.Manifest.Tables {
		if !now[t.Name] {
			return fmt.Sprintf("the table %s is gone", t.Name)
		}
	}
	if usual := median(rows); 2*m.RowsTotal < usual {
		return fmt.Sprintf("%d rows, where %d are usual", m.RowsTotal, usual)
	}
	if usual := median(sizes); 2*m.RawSize < usual {
		return fmt.Sprintf("%d bytes, where %d are usual", m.RawSize, usual)
	}
	for _, kind := range []struct {
		name      string
		was, isnt int64
	}{{"triggers", last.Manifest.Triggers, m.Triggers}, {"routines", last.Manifest.Routines, m.Routines}, {"events", last.Manifest.Events, m.Events}, {"views", last.Manifest.Views, m.Views}} {
		if kind.was > 0 && kind.isnt == 0 {
			return fmt.Sprintf("the last backup had %d %s and this one has none: a missing privilege?", kind.was, kind.name)
		}
	}
	return ""
}

func median(list []int64) int64 {
	if len(list) == 0 {
		return 0
	}
	list = append([]int64(nil), list...)
	sort.Slice(list, func(a, b int) bool { return list[a] < list[b] })
	return list[len(list)/2]
}
