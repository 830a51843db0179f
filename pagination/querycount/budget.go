package querycount

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// TB is the part of testing.TB that [Budget] and [NoNPlusOne] use.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Cleanup(func())
	Context() context.Context
}

// Budget returns the test's context with a counter. At the end of the test, it fails the
// test if more than most statements ran under that context, and lists them.
func Budget(t TB, most int) context.Context {
	t.Helper()
	ctx, c := With(t.Context())
	t.Cleanup(func() {
		t.Helper()
		if n := c.Total(); n > most {
			t.Errorf("querycount: %d statements ran, the budget is %d:%s", n, most, listing(c.Statements()))
		}
	})
	return ctx
}

// NoNPlusOne returns the test's context with a counter. At the end of the test, it fails
// the test if a query of one shape ran more than three times under that context, and names
// its caller. allowed are parts of shapes that may run more often.
func NoNPlusOne(t TB, allowed ...string) context.Context {
	t.Helper()
	ctx, c := With(t.Context())
	t.Cleanup(func() {
		t.Helper()
		if list := c.Repeated(3, allowed...); len(list) > 0 {
			t.Errorf("querycount: queries ran many times; load their rows with one statement (N+1):%s", callers(list))
		}
	})
	return ctx
}

func listing(list []Statement) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "\n%5d x %s", s.Count, s.SQL)
	}
	return b.String()
}

// callers adds the caller of each statement, and its duration.
func callers(list []Statement) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "\n%5d x %s\n        in %v, first at %s", s.Count, s.SQL, s.Took.Round(time.Microsecond), s.Caller)
	}
	return b.String()
}
