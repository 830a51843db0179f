//go:build !race

package pagination

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The race detector makes pools forget at random, so these counts hold without it only.

func TestCursorAllocations(t *testing.T) {
	c := mustCursors(t, EphemeralKeyRing(), nil)
	values := []Value{mustValue(t, KindTime, time.Now()), mustValue(t, KindInt, 123456)}
	kinds, scope := []Kind{KindTime, KindInt}, NewScope("x")
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		cursor, err := c.Encode(scope, Position{Values: values})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.Decode(scope, kinds, cursor); err != nil {
			t.Fatal(err)
		}
	}), 2.0)
}
