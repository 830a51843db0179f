package querycount

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// maxTexts bounds the distinct statement texts that a counter keeps; those beyond count
// only in the total.
const maxTexts = 1000

// Counter counts the statements of a context. It is safe for concurrent use.
type Counter struct {
	mu    sync.Mutex
	total int
	texts map[string]int
}

// Statement is a statement text and how often it ran.
type Statement struct {
	SQL   string
	Count int
}

type contextKey struct{}

// With returns a context that counts its statements. A counter inside another takes the
// statements from it.
func With(ctx context.Context) (context.Context, *Counter) {
	c := &Counter{texts: make(map[string]int)}
	return context.WithValue(ctx, contextKey{}, c), c
}

// From returns the counter of a context, or nil.
func From(ctx context.Context) *Counter {
	c, _ := ctx.Value(contextKey{}).(*Counter)
	return c
}

// Record counts a statement that did not run through database/sql, such as one that a
// tracer of a native driver reports.
func Record(ctx context.Context, sql string) {
	if c := From(ctx); c != nil {
		c.record(sql)
	}
}

func (c *Counter) record(sql string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total++
	if _, known := c.texts[sql]; known || len(c.texts) < maxTexts {
		c.texts[sql]++
	}
}

// Total returns the number of statements so far.
func (c *Counter) Total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// Statements returns the distinct texts, the most frequent first.
func (c *Counter) Statements() []Statement { return c.sorted(func(sql string) string { return sql }) }

// Shapes returns the statements with their literals and lists of placeholders made
// alike, the most frequent first: the same statement with other values is one shape.
func (c *Counter) Shapes() []Statement { return c.sorted(shape) }

func (c *Counter) sorted(by func(string) string) []Statement {
	c.mu.Lock()
	counts := make(map[string]int, len(c.texts))
	for sql, n := range c.texts {
		counts[by(sql)] += n
	}
	c.mu.Unlock()
	list := make([]Statement, 0, len(counts))
	for sql, n := range counts {
		list = append(list, Statement{sql, n})
	}
	slices.SortFunc(list, func(a, b Statement) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.SQL, b.SQL))
	})
	return list
}
