package health

import "fmt"

// Status is how well something is. The numbers grow with the trouble, so that
// the worse of two states is the larger one.
type Status uint8

const (
	// Unknown is the zero value: nothing has been measured yet. It is never
	// taken for good health.
	Unknown Status = iota
	// Pass means healthy.
	Pass
	// Warn means that it works and that a person should look. Load balancers
	// keep sending traffic: the HTTP code stays 200.
	Warn
	// Fail means that it does not work.
	Fail
)

// String returns "unknown", "pass", "warn" or "fail".
func (s Status) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Pass:
		return "pass"
	case Warn:
		return "warn"
	case Fail:
		return "fail"
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// MarshalText writes the word of String.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads one of the four words of String.
func (s *Status) UnmarshalText(text []byte) error {
	for _, known := range []Status{Unknown, Pass, Warn, Fail} {
		if string(text) == known.String() {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("health: %q is not a status: use unknown, pass, warn or fail", text)
}

// Kind tells how a [CheckState] came about: by the word of the check itself, or
// by something that happened to it.
type Kind uint8

const (
	// KindPending means that the check has not run since the start.
	KindPending Kind = iota
	// KindReported means that the check returned in time and this is what it said.
	KindReported
	// KindTimeout means that the check did not return within its Timeout.
	KindTimeout
	// KindStuck means that a run that timed out earlier has still not returned. Nothing
	// new is started until it does.
	KindStuck
	// KindStale means that the last result is older than three intervals and a timeout,
	// whatever it said.
	KindStale
	// KindPanic means that the check panicked, or ended its goroutine.
	KindPanic
)

// String returns "pending", "reported", "timeout", "stuck", "stale" or "panic".
func (k Kind) String() string {
	switch k {
	case KindPending:
		return "pending"
	case KindReported:
		return "reported"
	case KindTimeout:
		return "timeout"
	case KindStuck:
		return "stuck"
	case KindStale:
		return "stale"
	case KindPanic:
		return "panic"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// MarshalText writes the word of String.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
