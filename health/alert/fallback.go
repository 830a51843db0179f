package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// fallbackWait is the time that Fallback gives the main store before it uses the spare one.
const fallbackWait = 5 * time.Second

// Fallback returns a Store that uses main, and spare while main is unreachable. Use it if
// main is what the checks watch, such as a database. A service or a command that ends
// during an outage of main then repeats no message in the next process.
//
// The spare store belongs to one host, such as a [File]. It keeps a copy of the state of
// one instance. While main is unreachable, decisions are made with this copy, and the
// other instances count as unobserved. The first Update that reaches main again merges
// them. ErrBusy and ErrStandby of main are no outage: another process decides.
//
// The instance is Options.Instance of the Alerter. [New] refuses another one.
func Fallback(main, spare Store, instance string) Store {
	return &fallback{main: main, spare: spare, instance: instance}
}

type fallback struct {
	main, spare Store
	instance    string
}

// spareState is the document of the spare store.
type spareState struct {
	// Unmerged says that main does not have the state yet. Since is when main last had a new one.
	Unmerged bool            `json:"unmerged"`
	Since    time.Time       `json:"since,omitzero"`
	State    json.RawMessage `json:"state"`
}

func readSpare(document []byte) (s spareState) {
	if json.Unmarshal(document, &s) != nil { // a damaged copy is replaced
		return spareState{}
	}
	return s
}

func (s *fallback) Update(ctx context.Context, f func([]byte) ([]byte, error)) error {
	var seen, next []byte // the spare document that was merged, and the decision
	var failed error      // of f
	var since time.Time   // when main had no other state than the spare store
	decided := false
	ask, cancel := context.WithTimeout(ctx, fallbackWait)
	defer cancel()
	err := s.main.Update(ask, func(state []byte) ([]byte, error) {
		seen = s.peek(ctx)
		decided = true
		state, since = s.merge(state, readSpare(seen)), time.Now()
		next, failed = f(state)
		return next, failed
	})
	switch {
	case failed != nil, !decided && (errors.Is(err, ErrBusy) || errors.Is(err, ErrStandby) || ctx.Err() != nil):
		return err
	case err == nil:
		// Without its copy, the next outage begins with what the process knows.
		_ = s.spare.Update(ctx, func(spare []byte) ([]byte, error) {
			kept := readSpare(spare)
			if kept.Unmerged && !bytes.Equal(spare, seen) { // of another process, meanwhile
				return spare, nil
			}
			if same, err := s.copy(next, false, kept.Since); err != nil || bytes.Equal(same, spare) {
				return spare, err
			}
			return s.copy(next, false, since)
		})
		return nil
	}
	spareErr := s.spare.Update(ctx, func(spare []byte) ([]byte, error) {
		kept := readSpare(spare)
		if decided { // main may have lost the decision
			return s.copy(s.merge(next, kept), true, kept.Since)
		}
		if next, failed = f(kept.State); failed != nil {
			return nil, failed
		}
		return s.copy(next, true, kept.Since)
	})
	if spareErr != nil {
		return errors.Join(err, spareErr)
	}
	return nil
}

// peek returns the document of the spare store, or nil.
func (s *fallback) peek(ctx context.Context) (document []byte) {
	_ = s.spare.Update(ctx, func(spare []byte) ([]byte, error) {
		document = bytes.Clone(spare)
		return spare, nil
	})
	return document
}

// merge adds the decisions that main does not have to its state.
func (s *fallback) merge(state []byte, spare spareState) []byte {
	if !spare.Unmerged {
		return state
	}
	d, err := decode(state)
	mine, mineErr := decode(spare.State)
	if err != nil || mineErr != nil {
		return state
	}
	d.absorb(mine, s.instance, spare.Since, time.Now())
	merged, err := d.encode()
	if err != nil {
		return state
	}
	return merged
}

// resumeInstance takes over what an instance observed while it could not write. Without it,
// the end of a problem that began meanwhile would have no witness.
func (d *document) resumeInstance(name string, mine *instance) {
	if mine == nil {
		return
	}
	theirs := d.Instances[name]
	if theirs == nil {
		if d.Instances == nil {
			d.Instances = map[string]*instance{}
		}
		d.Instances[name] = mine
		return
	}
	newer := func(a, b *observer) bool { return a != nil && (b == nil || !b.Seen.After(a.Seen)) }
	if newer(mine.Run, theirs.Run) {
		theirs.Run, theirs.Stopped = mine.Run, mine.Stopped
		for _, u := range mine.Unclean {
			if !slices.ContainsFunc(theirs.Unclean, func(o uncleanStart) bool { return o.Boot == u.Boot && o.At.Equal(u.At) }) {
				theirs.Unclean = append(theirs.Unclean, u)
			}
		}
	}
	if newer(mine.Once, theirs.Once) {
		theirs.Once = mine.Once
	}
}

// copy encodes the part of a state that one instance can go on with. The alerts of other
// instances would end in it, because nothing reports them.
func (s *fallback) copy(state []byte, unmerged bool, since time.Time) ([]byte, error) {
	d, err := decode(state)
	if err != nil {
		return nil, err
	}
	for name := range d.Instances {
		if name != s.instance {
			delete(d.Instances, name)
		}
	}
	for key, al := range d.Alerts {
		if al.Instance != "" && al.Instance != s.instance {
			delete(d.Alerts, key)
		}
	}
	b, err := d.encode()
	if err != nil {
		return nil, err
	}
	return json.Marshal(spareState{Unmerged: unmerged, Since: since, State: b})
}
