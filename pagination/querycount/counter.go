package querycount

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/internal/batch"
)

// maxTexts is the number of distinct statement texts that a counter keeps. Further texts
// count only in the total.
const maxTexts = 1000

// Counter counts the statements of a context. It is safe for concurrent use.
type Counter struct {
	mu    sync.Mutex
	total int
	texts map[string]Statement
}

// Statement is a statement text and how often it ran.
type Statement struct {
	SQL    string        // as the driver received it
	Count  int           // runs
	Took   time.Duration // of all runs, until the first row
	Caller string        // file and line of the first run, outside database libraries

	batches int // runs that read one list in batches
	dialect string
}

type contextKey struct{}

// With returns a context that counts its statements. A counter inside another one takes its
// statements away from the outer one.
func With(ctx context.Context) (context.Context, *Counter) {
	c := &Counter{texts: make(map[string]Statement)}
	return context.WithValue(ctx, contextKey{}, c), c
}

// From returns the counter of a context, or nil.
func From(ctx context.Context) *Counter {
	c, _ := ctx.Value(contextKey{}).(*Counter)
	return c
}

// Record counts a statement that did not run through database/sql, for example from the
// tracer of a native driver. dialect is "postgres", "mysql", "sqlite", "sqlserver" or "",
// and decides how its text is parsed.
func Record(ctx context.Context, dialect, sql string, took time.Duration) {
	if c := From(ctx); c != nil {
		c.record(dialect, sql, took, batch.Marked(ctx))
	}
}

func (c *Counter) record(dialect, sql string, took time.Duration, batched bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total++
	s, known := c.texts[sql]
	if !known {
		if len(c.texts) >= maxTexts {
			return
		}
		s = Statement{SQL: sql, Caller: caller(), dialect: dialect}
	}
	s.Count, s.Took = s.Count+1, s.Took+took
	if batched {
		s.batches++
	}
	c.texts[sql] = s
}

// caller returns the first frame that belongs to no database library.
func caller() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if f.File != "" && !library(f.Function) {
			return f.File + ":" + strconv.Itoa(f.Line)
		}
		if !more {
			return ""
		}
	}
}

// libraries are the packages whose frames are between a statement and its caller.
var libraries = []string{
	"database/sql.", "runtime.", "iter.", "github.com/mainstay-go/mainstay/pagination.", "github.com/mainstay-go/mainstay/pagination/",
	"github.com/mainstay-go/mainstay/contrib/", "github.com/jackc/", "gorm.io/", "github.com/uptrace/bun", "entgo.io/",
	"github.com/Masterminds/squirrel", "github.com/jmoiron/sqlx", "github.com/go-sql-driver/", "github.com/lib/pq", "modernc.org/",
}

func library(function string) bool {
	if strings.Contains(function, "_test.") {
		return false // the tests of this repository are callers
	}
	return slices.ContainsFunc(libraries, func(prefix string) bool { return strings.HasPrefix(function, prefix) })
}

// Total returns the number of statements so far.
func (c *Counter) Total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// Statements returns the distinct texts, the most frequent first.
func (c *Counter) Statements() []Statement {
	return c.sorted(func(sql, _ string) string { return sql })
}

// Shapes returns the statements without the differences in literals and lists of
// placeholders, the most frequent first. The same statement with other values is one shape.
func (c *Counter) Shapes() []Statement { return c.sorted(shape) }

func (c *Counter) sorted(by func(sql, dialect string) string) []Statement {
	c.mu.Lock()
	counts := make(map[string]Statement, len(c.texts))
	for sql, s := range c.texts {
		key := by(sql, s.dialect)
		sum := counts[key]
		caller := s.Caller
		if sum.Caller != "" {
			caller = min(sum.Caller, s.Caller)
		}
		counts[key] = Statement{SQL: key, Count: sum.Count + s.Count, Took: sum.Took + s.Took, Caller: caller, batches: sum.batches + s.batches, dialect: s.dialect}
	}
	c.mu.Unlock()
	list := make([]Statement, 0, len(counts))
	for _, s := range counts {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Statement) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.SQL, b.SQL))
	})
	return list
}

// Repeated returns the shapes of queries that ran more than most times and load rows one by
// one, as an N+1 does. It leaves out writes, the batches of a keyset walk, and shapes that
// contain one of the allowed texts.
func (c *Counter) Repeated(most int, allowed ...string) []Statement {
	return slices.DeleteFunc(c.Shapes(), func(s Statement) bool {
		return s.Count-s.batches <= most || !reads(s.SQL, s.dialect) ||
			slices.ContainsFunc(allowed, func(text string) bool { return strings.Contains(s.SQL, text) })
	})
}
