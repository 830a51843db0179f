package pagination

import (
	"context"
	"time"
)

// Trace holds functions that a paginator calls. Each may be nil. They run in the request's
// goroutine and must return quickly.
type Trace struct {
	// Page is called after each page, including a page that failed.
	Page func(context.Context, PageEvent)
}

// PageEvent describes a page that was read.
type PageEvent struct {
	Style   string        // "page", "limit" or "cursor"
	Size    int           // requested rows, after default and maximum; 0 = all
	Offset  int64         // rows before the page; 0 for cursors
	Rows    int           // rows in the page
	Total   Total         // Unknown for cursors
	Took    time.Duration // count and rows together
	Ignored []string      // corrected, unknown and repeated parameters
	Err     error         // the reason if there is no page, or nil
}

// begin records the start time of a page. The returned function is never nil.
func (t *Trace) begin(ctx context.Context, style string) func(PageEvent) {
	if t == nil || t.Page == nil {
		return func(PageEvent) {}
	}
	start := time.Now()
	return func(info PageEvent) {
		info.Style, info.Took = style, time.Since(start)
		t.Page(ctx, info)
	}
}
