package ratelimit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Policy says how much one key may use. It is plain data: copy it, compare it, read
// it from a flag ([Policy.Set]).
type Policy struct {
	// Name is shown to clients in headers and bodies and is part of the key in
	// Redis: a letter, then letters, digits, '-' and '_', at most 64 in all.
	Name string
	// Limit is how many units a key may use in a window: at least 1, or Unlimited.
	Limit int
	// Window is the span that Limit speaks of, from a millisecond to 30 days.
	Window time.Duration
	// Algorithm counts. Default: Exact.
	Algorithm Algorithm
	// OnFailure is what happens while a shared back-end does not answer. A limiter
	// in memory cannot fail. Default: FailLocal.
	OnFailure FailureMode
	// Shadow makes the policy report denials ([Result.Shadowed]) and let requests
	// through, to try a limit on real traffic first. It refuses and delays no request,
	// whatever its cost. Default: false.
	Shadow bool
	// CountDenied makes denied requests use up the window as well, at most Limit
	// units of it: a client that does not pause is never let in again. Exact only.
	// Default: false; a denied request uses no units.
	CountDenied bool
}

const (
	// Unlimited as a Policy's Limit switches the limit off.
	Unlimited = -1
	// Never is the RetryAfter of a cost that can never fit.
	Never = time.Duration(math.MinInt64)
	// ExposeHeaders is the value of Access-Control-Expose-Headers that lets scripts of
	// other origins read the fields that the middleware writes.
	ExposeHeaders = "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, RateLimit, RateLimit-Policy, Retry-After"

	minWindow = time.Millisecond
	maxWindow = 30 * 24 * time.Hour
	maxLimit  = 1 << 30
)

// Algorithm is a way of counting.
type Algorithm int

const (
	// Exact is the sliding-window log. It admits at most Limit in any window, whatever
	// the pattern, and frees each unit exactly a window after its use. It keeps 16 bytes
	// for each use, whatever its cost. Above a limit of 4,096 it tells 4,096 instants of
	// a window apart, and frees a unit up to a 4,096th of a window late.
	Exact Algorithm = iota
	// Buckets is Exact with 63 instants in a window. It admits at most Limit in any
	// window, and frees a unit up to a 63rd of a window late. It keeps at most 2 KiB for a
	// key. Use it for many keys with many uses each.
	Buckets
	// GCRA is the generic cell rate algorithm, a token bucket that holds Limit and
	// fills at Limit per Window. It keeps one number a key and gives units back one
	// by one. Its bound is 2*Limit-1 in a window: a full bucket, then what flows in.
	GCRA
)

// String returns the name of the constant.
func (a Algorithm) String() string {
	switch a {
	case Exact:
		return "Exact"
	case Buckets:
		return "Buckets"
	case GCRA:
		return "GCRA"
	}
	return "Algorithm(" + strconv.Itoa(int(a)) + ")"
}

// FailureMode is the behavior of a limiter while its shared back-end does not respond.
type FailureMode int

const (
	// FailLocal counts in this process.
	FailLocal FailureMode = iota
	// FailClosed refuses with ErrUnavailable, which the middleware answers with 503.
	FailClosed
	// FailOpen lets everything through.
	FailOpen
)

// String returns the name of the constant.
func (f FailureMode) String() string {
	switch f {
	case FailLocal:
		return "FailLocal"
	case FailClosed:
		return "FailClosed"
	case FailOpen:
		return "FailOpen"
	}
	return "FailureMode(" + strconv.Itoa(int(f)) + ")"
}

// Validate returns the first mistake in p, or nil. Constructors call it.
func (p Policy) Validate() error {
	if !validName(p.Name) {
		return fmt.Errorf("ratelimit: policy name %q: use a letter, then letters, digits, '-' and '_', at most 64", p.Name)
	}
	if p.Algorithm < Exact || p.Algorithm > GCRA {
		return fmt.Errorf("ratelimit: policy %s: unknown %v", p.Name, p.Algorithm)
	}
	if p.OnFailure < FailLocal || p.OnFailure > FailOpen {
		return fmt.Errorf("ratelimit: policy %s: unknown %v", p.Name, p.OnFailure)
	}
	switch {
	case p.Limit == Unlimited && p.Window == 0:
		return nil
	case p.Limit < 1 && p.Limit != Unlimited:
		return fmt.Errorf("ratelimit: policy %s: limit %d must be at least 1, or Unlimited", p.Name, p.Limit)
	case p.Window < minWindow || p.Window > maxWindow:
		return fmt.Errorf("ratelimit: policy %s: window %v must be from %v to %v", p.Name, p.Window, minWindow, maxWindow)
	case p.Algorithm == GCRA && time.Duration(p.Limit) > p.Window:
		return fmt.Errorf("ratelimit: policy %s: GCRA cannot give %d units in %v, less than a nanosecond each", p.Name, p.Limit, p.Window)
	case p.Limit > maxLimit:
		return fmt.Errorf("ratelimit: policy %s: limit %d is above %d", p.Name, p.Limit, maxLimit)
	case p.CountDenied && p.Algorithm != Exact:
		return fmt.Errorf("ratelimit: policy %s: CountDenied needs Exact", p.Name)
	}
	return nil
}

func validName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !(s[i] >= '0' && s[i] <= '9' || s[i] == '-' || s[i] == '_')) {
			return false
		}
	}
	return true
}

// String returns the form that [Policy.Set] reads: "5/1h", or "off".
func (p Policy) String() string {
	if p.Limit == Unlimited {
		return "off"
	}
	w := p.Window.String()
	if strings.HasSuffix(w, "m0s") {
		w = w[:len(w)-2]
	}
	if strings.HasSuffix(w, "h0m") {
		w = w[:len(w)-2]
	}
	return strconv.Itoa(p.Limit) + "/" + w
}

// Set changes Limit and Window to what s says and leaves the rest, so that a
// *Policy is a flag.Value: "5/1h", "100/30m", "10/s", "1000/1d", or "off". The
// units are those of time.ParseDuration and d for 24 hours; a unit alone is one
// of it. p is unchanged when s makes no valid policy.
func (p *Policy) Set(s string) error {
	next := *p
	if strings.EqualFold(strings.TrimSpace(s), "off") {
		next.Limit = Unlimited
	} else {
		limit, window, err := parseRate(s)
		if err != nil {
			return err
		}
		next.Limit, next.Window = limit, window
	}
	if err := next.Validate(); err != nil {
		return err
	}
	*p = next
	return nil
}

var errRate = errors.New(`ratelimit: a rate is written like "5/1h" (at most 5 in any hour), "100/30m", "10/s", or "off"`)

func parseRate(s string) (limit int, window time.Duration, err error) {
	count, span, ok := strings.Cut(s, "/")
	count, span = strings.TrimSpace(count), strings.TrimSpace(span)
	limit, err = strconv.Atoi(count)
	if !ok || err != nil || limit < 1 || count[0] == '+' || span == "" {
		return 0, 0, errRate
	}
	if span[0] < '0' || span[0] > '9' {
		span = "1" + span
	}
	if days, ok := strings.CutSuffix(span, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 1 || n > 30 {
			return 0, 0, errRate
		}
		return limit, time.Duration(n) * 24 * time.Hour, nil
	}
	window, err = time.ParseDuration(span)
	if err != nil {
		return 0, 0, errRate
	}
	return limit, window, nil
}

// ParsePolicy makes a policy from its name and a rate as [Policy.Set] reads it.
func ParsePolicy(name, rate string) (Policy, error) {
	p := Policy{Name: name}
	err := p.Set(rate)
	return p, err
}
