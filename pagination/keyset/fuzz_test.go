package keyset

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzCursor tries to make a cursor: only those that the ring made are accepted.
func FuzzCursor(f *testing.F) {
	signed := mustCursors(f, mustRing(f, CursorKey{ID: 1, Secret: secret(1)}), nil)
	sealed := mustCursors(f, mustRing(f, CursorKey{ID: 1, Secret: secret(1)}), &CursorsOptions{Encrypt: true})
	scope := NewScope("fuzz")
	real, err := signed.Encode(scope, Position{Values: []Value{
		mustValue(f, time.Unix(1_800_000_000, 0)), mustValue(f, 5), mustValue(f, "x"),
	}})
	require.NoError(f, err)
	other, err := signed.Encode(NewScope("other"), Position{Values: make([]Value, 3)})
	require.NoError(f, err)
	for _, seed := range []string{"", real, other, real[:20], "cD1hYmM=", strings.Repeat("A", 1024), real + "=="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		_, err := signed.Decode(scope, 3, cursor)
		if err == nil {
			require.Equal(t, real, cursor, "a forgery was accepted")
		} else {
			require.ErrorIs(t, err, ErrInvalidCursor)
		}
		_, err = sealed.Decode(scope, 3, cursor)
		require.ErrorIs(t, err, ErrInvalidCursor)
		// What is inside is read without a panic, whoever wrote it.
		r := reader{b: []byte(cursor), ok: true}
		for kind := kindNull; kind <= kindCount; kind++ {
			r.value(kind).Any()
		}
	})
}
