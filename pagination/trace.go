package pagination

import (
	"context"
	"time"
)

// Trace holds functions that are told what a paginator does. Each may be nil. They are
// called in the request's goroutine and must return quickly.
type Trace struct {
	// Page is called after each page, also after one that failed.
	Page func(context.Context, PageEvent)
}

// PageEvent describes a page that was read.
type PageEvent struct {
	Style    string        // "page", "limit" or "cursor"
	Size     int           // rows asked for, after default and maximum; 0 = all
	Offset   int64         // rows before the page; 0 for cursors
	Rows     int           // rows in the page
	Total    Total         // Unknown for cursors
	Duration time.Duration // count and rows together
	Ignored  []string      // parameters that were corrected or not known; of keyset lists
	Err      error         // why there is no page; nil if there is one
}

// begin starts the clock of a page. The returned function is never nil.
func (t *Trace) begin(ctx context.Context, style string) func(PageEvent) {
	if t == nil || t.Page == nil {
		return func(PageEvent) {}
	}
	start := time.Now()
	return func(info PageEvent) {
		info.Style, info.Duration = style, time.Since(start)
		t.Page(ctx, info)
	}
}
