package driver

import "testing"

// TestNewsOfWaitersThatLeft: the channel of a key is removed when its last waiter leaves, and
// the others still receive.
func TestNewsOfWaitersThatLeft(t *testing.T) {
	m := NewMemory(0)
	first, second := m.News(1), m.News(1)
	m.Left(1, first)
	if m.Left(2, first); len(m.wakes.byKey) != 1 {
		t.Errorf("%d channels", len(m.wakes.byKey))
	}
	m.Wake(1)
	select {
	case <-second:
	default:
		t.Error("the other waiter did not wake")
	}
	third := m.News(1)
	m.Left(1, second) // of the channel before
	if len(m.wakes.byKey) != 1 {
		t.Error("the channel of another waiter is gone")
	}
	if m.Left(1, third); len(m.wakes.byKey) != 0 {
		t.Errorf("%d channels stay", len(m.wakes.byKey))
	}
}
