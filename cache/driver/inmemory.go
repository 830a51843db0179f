package driver

import (
	"context"
	"errors"
)

// InMemory returns the store of caches that share a memory and have no other tier. Their
// values are never encoded.
func InMemory(m *Memory) Store { return inMemory{m} }

type inMemory struct{ memory *Memory }

func (s inMemory) Capabilities() Capabilities {
	return Capabilities{Memory: s.memory, MemoryOnly: true}
}

func (inMemory) Do(_ context.Context, ops []Op) {
	Fail(ops, errors.New("cache: the store has nothing but its Memory, which cache.Typed uses directly"))
}
