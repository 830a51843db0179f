package pagination

// Break stands in a page window for one or more pages that are left out.
const Break int64 = 0

// PageWindow selects the page numbers for a row of page links: the first page, the last
// page, the current page and its neighbours. [Break] stands for the pages that are left
// out, never for a single page. current is limited to the range from 1 to last. The rule is
// that of Django REST Framework: PageWindow(5, 9) is 1 … 4 5 6 … 9.
func PageWindow(current, last int64) []int64 {
	last = max(last, 1)
	current = min(max(current, 1), last)
	if last <= 5 {
		all := make([]int64, last)
		for i := range all {
			all[i] = int64(i) + 1
		}
		return all
	}
	// from..to are the pages around the current one that are shown without a break.
	from, to := current-1, current+1
	if current <= 4 {
		from, to = 1, max(to, 3)
	}
	if current >= last-3 {
		from, to = min(from, last-2), last
	}
	window := make([]int64, 0, 9)
	if from > 1 {
		window = append(window, 1, Break)
	}
	for n := from; n <= to; n++ {
		window = append(window, n)
	}
	if to < last {
		window = append(window, Break, last)
	}
	return window
}

// PageLink is one entry of a row of page links.
type PageLink struct {
	Number int64  `json:"number"` // [Break] for a gap
	URL    string `json:"url"`    // "" for a gap
	Active bool   `json:"active"` // the page that is shown
}
