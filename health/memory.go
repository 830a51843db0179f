package health

import "fmt"

// rememberer is a Checker that keeps state between two runs of a command.
type rememberer interface {
	Remember() ([]byte, error)
	Recall(state []byte) error
}

// Remember returns the state that the checks keep between two processes, by their
// names. With it, a command that runs every hour can measure the processor over that
// hour. Checkers with the methods Remember() ([]byte, error) and Recall([]byte) error
// take part.
func (r *Registry) Remember() map[string][]byte {
	states := map[string][]byte{}
	for name, c := range r.rememberers() {
		state, err := c.Remember()
		if err != nil {
			r.log.Warn("health: a check cannot be remembered", "check", name, "cause", r.scrub.error(err))
			continue
		}
		states[name] = state
	}
	return states
}

// Recall gives the checks the state that Remember returned in an earlier process. Call
// it before the first run. A check that rejects its state starts without one. The error
// names such checks.
func (r *Registry) Recall(states map[string][]byte) error {
	var failed error
	for name, c := range r.rememberers() {
		if state, ok := states[name]; ok {
			if err := c.Recall(state); err != nil {
				failed = fmt.Errorf("health: check %q starts without its earlier state: %w", name, err)
			}
		}
	}
	return failed
}

func (r *Registry) rememberers() map[string]rememberer {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := map[string]rememberer{}
	for _, s := range r.slots {
		if c, ok := s.Checker.(rememberer); ok {
			found[s.Name] = c
		}
	}
	return found
}
