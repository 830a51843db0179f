package driver

// tagState is the state of a tag, remembered until a moment on the clock of the Memory.
type tagState struct {
	text  string
	until int64
}

// State returns the state of a tag if it is known, and no invalidation of the tag can have
// been missed.
func (m *Memory) State(tag uint64) (state string, known bool) {
	if !m.online.Load() {
		return "", false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, known := m.states[tag]
	if !known || m.Now() >= s.until {
		return "", false
	}
	return s.text, true
}

// KeepState stores the state of a tag that the store returned after t. A remembered state ends
// at the age limit of entries, see SetOnline.
func (m *Memory) KeepState(t Ticket, tag uint64, state string) {
	const most = 100_000
	m.mu.Lock()
	defer m.mu.Unlock()
	if state == "" || !m.online.Load() || !m.ledger.valid(t, tag, nil) {
		return
	}
	if len(m.states) >= most {
		clear(m.states)
	}
	m.states[tag] = tagState{state, m.until(m.Limit())}
}

// ForgetState makes the next read of a tag read the store.
func (m *Memory) ForgetState(tag uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.states, tag)
}
