package driver

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestStateAge: a remembered state ends at the age limit of values in memory, so that a message
// that never arrives has a bounded effect.
func TestStateAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(0)
		m.SetOnline(true, time.Minute)
		keep := func() {
			ticket := m.Begin()
			m.KeepState(ticket, 1, "state")
			m.End(ticket)
		}
		keep()
		time.Sleep(59 * time.Second)
		if state, known := m.State(1); state != "state" || !known {
			t.Errorf("within the limit: %q, %v", state, known)
		}
		time.Sleep(time.Second)
		if state, known := m.State(1); known {
			t.Errorf("after the limit: %q", state)
		}
		m.SetOnline(true, 0) // no limit
		keep()
		time.Sleep(24 * time.Hour)
		if _, known := m.State(1); !known {
			t.Error("a state without a limit ended")
		}
	})
}
