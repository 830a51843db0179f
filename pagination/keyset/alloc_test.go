//go:build !race

package keyset

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The race detector makes pools forget at random, so these counts hold without it only.

func TestCursorAllocations(t *testing.T) {
	c := mustCursors(t, EphemeralKeyRing(), nil)
	values := []Value{mustValue(t, time.Now()), mustValue(t, 123456)}
	scope := NewScope("x")
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		cursor, err := c.Encode(scope, Position{Values: values})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.Decode(scope, 2, cursor); err != nil {
			t.Fatal(err)
		}
	}), 2.0)
}
