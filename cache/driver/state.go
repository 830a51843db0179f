package driver

// State returns the state of a tag if it is known, and no invalidation of the tag can have
// been missed.
func (m *Memory) State(tag uint64) (state string, known bool) {
	if !m.online.Load() {
		return "", false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	state, known = m.states[tag]
	return state, known
}

// KeepState stores the state of a tag that was read after t.
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
	m.states[tag] = state
}

// ForgetState makes the next read of a tag read the store.
func (m *Memory) ForgetState(tag uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.states, tag)
}
