package health

import "fmt"

// Status is the state of a check or of the service. A larger number is a worse state.
type Status uint8

const (
	// Unknown is the zero value: there is no result yet. It never counts as healthy.
	Unknown Status = iota
	// Pass means healthy.
	Pass
	// Warn means that the subject works but needs the attention of a person. Load
	// balancers keep sending traffic, because the HTTP code stays 200.
	Warn
	// Fail means that the subject does not work.
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

// Kind is the origin of a [CheckState]: the result of the check itself, or an event
// such as a timeout.
type Kind uint8

const (
	// KindPending means that the check has not run since the start.
	KindPending Kind = iota
	// KindReported means that the check returned in time, and the state is its result.
	KindReported
	// KindTimeout means that the check did not return within its Timeout.
	KindTimeout
	// KindStuck means that a run that timed out earlier has still not returned. No new
	// run starts until it does.
	KindStuck
	// KindStale means that the last result is older than three intervals and a timeout.
	KindStale
	// KindPanic means that the check panicked, or called runtime.Goexit.
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
