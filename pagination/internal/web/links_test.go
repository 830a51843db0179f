package web

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A frame with a value is the link with that value.
func TestFrame(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "a=1", "z=1", "cursor=old", "a=1&cursor=x&cursor=y&z=2&z=1", "c=é&q=a+b&&=v&cursors=1", "cursor", "%63ursor=x"} {
		l := Linker{prefix: "https://shop.example/list", Pairs: SortedPairs(query)}
		before, behind := l.Frame("cursor")
		assert.Equal(t, l.Link(nil, Pair{Name: "cursor", Value: "EAB-_c"}), before+"EAB-_c"+behind, query)
	}
}
