package querycount

import (
	"context"
	"fmt"
	"strings"
)

// TB is the part of testing.TB that [Budget] uses.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Cleanup(func())
	Context() context.Context
}

// Budget returns the test's context with a counter. At the end of the test it fails it
// if more than most statements ran under that context, and lists them.
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

func listing(list []Statement) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "\n%5d x %s", s.Count, s.SQL)
	}
	return b.String()
}
