// Package pagetest reads the lists of the pagination examples over HTTP, like a client, and
// checks their pages. Each example has sixty sales, numbered in the order of their time, with
// four sales at each time. A third of the sales is not closed, and a third is tea.
package pagetest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// page is the response of both lists.
type page struct {
	Count    int    `json:"count"`
	Next     string `json:"next"`
	Previous string `json:"previous"`
	Results  []sale `json:"results"`
}

type sale struct {
	ID      int             `json:"id"`
	Product string          `json:"product"`
	Closed  json.RawMessage `json:"closed_at"`
}

func (p page) ids() []int {
	ids := make([]int, len(p.Results))
	for i, s := range p.Results {
		ids[i] = s.ID
	}
	return ids
}

// Check reads /sales by page number and /feed by keyset.
func Check(t *testing.T, h http.Handler) {
	t.Helper()
	numbers(t, h)
	feed(t, h)
	nulls(t, h)
	if code, _ := get(t, h, "/feed?cursor=forged"); code != http.StatusNotFound {
		t.Errorf("a forged cursor answers %d", code)
	}
}

func numbers(t *testing.T, h http.Handler) {
	t.Helper()
	_, second := get(t, h, "/sales?page=2")
	if second.Count != 60 || second.Next == "" || second.Previous == "" || !slices.Equal(second.ids(), down(35, 11)) {
		t.Errorf("the second page is %+v", second)
	}
	_, last := get(t, h, "/sales?page=last")
	if last.Next != "" || !slices.Equal(last.ids(), down(10, 1)) {
		t.Errorf("the last page is %+v", last)
	}
	_, tea := get(t, h, "/sales?product=tea&page_size=100")
	if tea.Count != 20 || len(tea.Results) != 20 || tea.Results[0].Product != "tea" {
		t.Errorf("the filtered list is %+v", tea)
	}
	if code, _ := get(t, h, "/sales?page=4"); code != http.StatusNotFound {
		t.Errorf("a page past the last answers %d", code)
	}
}

// feed reads the list to the end and back. The pages are the same in both directions.
func feed(t *testing.T, h http.Handler) {
	t.Helper()
	var pages [][]int
	var all []int
	_, p := get(t, h, "/feed?page_size=7")
	for p.Previous != "" || len(pages) == 0 {
		pages, all = append(pages, p.ids()), append(all, p.ids()...)
		if p.Next == "" || len(pages) > 60 {
			break
		}
		_, p = get(t, h, p.Next)
	}
	if !slices.Equal(all, down(60, 1)) {
		t.Errorf("the walk visits %v", all)
	}
	for i := len(pages) - 2; i >= 0 && p.Previous != ""; i-- {
		_, p = get(t, h, p.Previous)
		if !slices.Equal(p.ids(), pages[i]) {
			t.Errorf("page %d is %v forwards and %v backwards", i+1, pages[i], p.ids())
		}
	}
	if p.Previous != "" || !slices.Equal(p.ids(), pages[0]) {
		t.Errorf("the walk back ends at %+v", p)
	}
	_, tea := get(t, h, "/feed?product=tea&page_size=100")
	if len(tea.Results) != 20 || tea.Next != "" {
		t.Errorf("the filtered feed is %+v", tea)
	}
}

// nulls reads the list ordered by a column with NULLs and ties. It must contain every row, with
// the values in order and the NULLs together.
func nulls(t *testing.T, h http.Handler) {
	t.Helper()
	var all []sale
	for next := "/feed?ordering=closed_at&page_size=7"; next != "" && len(all) <= 60; {
		_, p := get(t, h, next)
		all, next = append(all, p.Results...), p.Next
	}
	seen := make(map[int]bool)
	var values []string
	borders := 0
	for i, s := range all {
		seen[s.ID] = true
		open := string(s.Closed) == "null"
		if !open {
			values = append(values, string(s.Closed))
		}
		if i > 0 && open != (string(all[i-1].Closed) == "null") {
			borders++
		}
	}
	if len(all) != 60 || len(seen) != 60 || len(values) != 40 || borders != 1 || !slices.IsSorted(values) {
		t.Errorf("ordered by closed_at: %d rows, %d of them different, %d with values, %d borders", len(all), len(seen), len(values), borders)
	}
}

func get(t *testing.T, h http.Handler, url string) (code int, p page) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, url, nil))
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code >= http.StatusInternalServerError {
		t.Fatalf("%s answers %d: %s", url, w.Code, w.Body)
	}
	return w.Code, p
}

// down counts from one number to a lower one.
func down(from, to int) []int {
	var list []int
	for n := from; n >= to; n-- {
		list = append(list, n)
	}
	return list
}
