// Package operate lets operators list, unlock and block the keys of limiters, by HTTP and by a
// command.
//
//	limits, err := operate.Limiters(append(guard.Limiters(), api)...)
//	mux.Handle("/ops/limits/", http.StripPrefix("/ops/limits", operate.Handler(authorized, limits...)))
package operate

import (
	"context"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Limiter is a limiter that can list its keys: *ratelimit.Memory and *redislimit.Limiter.
//
// A limiter whose keys differ from what an operator knows may also have a method OperatorKey(text string) (string, error).
// It returns the key that an operator means by a text. The limiters of a login guard have one.
type Limiter interface {
	ratelimit.Limiter
	// Keys returns the keys that begin with prefix and have used units.
	Keys(ctx context.Context, prefix string) iter.Seq2[string, ratelimit.Result]
}

// Limiters returns limiters for Handler and Command. It fails if one cannot list its keys,
// or if two have policies of one name.
func Limiters(list ...ratelimit.Limiter) ([]Limiter, error) {
	limiters := make([]Limiter, len(list))
	names := make(map[string]bool)
	for i, l := range list {
		name := l.Policy().Name
		if names[name] {
			return nil, fmt.Errorf("operate: two limiters have a policy %q; operators name a limiter by its policy", name)
		}
		names[name] = true
		var ok bool
		if limiters[i], ok = l.(Limiter); !ok {
			return nil, fmt.Errorf("operate: the limiter of policy %q is a %T, which cannot list its keys; pass the limiter that NewMemory or Store.Limiter has returned", name, l)
		}
	}
	return limiters, nil
}

// Status is one key of one policy.
type Status struct {
	// Policy is the name of the policy.
	Policy string `json:"policy"`
	// Key is the key within the policy.
	Key string `json:"key"`
	// Limit is the number of units in a window for this key.
	Limit int `json:"limit"`
	// Remaining is how many of them are free now.
	Remaining int `json:"remaining"`
	// RetryAfter is the time in seconds until a blocked key has a free unit.
	RetryAfter float64 `json:"retry_after,omitempty"`
	// Blocked reports whether a request of one unit would be denied now.
	Blocked bool `json:"blocked"`
}

func status(key string, r ratelimit.Result) Status {
	return Status{
		Policy: r.Policy, Key: key, Limit: r.Limit, Remaining: r.Remaining,
		RetryAfter: max(r.RetryAfter, 0).Seconds(), Blocked: !r.Allowed || r.Shadowed,
	}
}

// maxListed bounds a listing.
const maxListed = 1000

// List returns up to 1,000 keys that begin with prefix, those of one policy or of all if
// policy is "". blocked omits keys that still have units.
func List(ctx context.Context, limiters []Limiter, policy, prefix string, blocked bool) (list []Status, err error) {
	if policy != "" {
		l, err := find(limiters, policy)
		if err != nil {
			return nil, err
		}
		limiters = []Limiter{l}
	}
	for _, l := range limiters {
		if _, err := peek(ctx, l, "operate:list"); err != nil { // a listing would be empty
			return nil, fmt.Errorf("operate: the keys cannot be listed: %w", err)
		}
		for key, r := range l.Keys(ctx, prefix) {
			if s := status(key, r); s.Blocked || !blocked {
				list = append(list, s)
			}
			if len(list) >= maxListed {
				return list, nil
			}
		}
	}
	return list, nil
}

// find returns the limiter of a policy.
func find(limiters []Limiter, policy string) (Limiter, error) {
	var names []string
	for _, l := range limiters {
		if l.Policy().Name == policy {
			return l, nil
		}
		names = append(names, l.Policy().Name)
	}
	return nil, fmt.Errorf("operate: there is no policy %q; the policies are %s", policy, strings.Join(names, ", "))
}

// Set blocks a key of a policy for a time, or unlocks it if wait is 0. It returns the status before, and then the status
// that the limiter reports. To unlock a key that has used nothing is an error, which names similar keys.
//
// The key is a key of a listing, or a kind and an id as an operator knows them, such as
// "account:Anna Berg" or "ip:2001:db8::7".
func Set(ctx context.Context, limiters []Limiter, policy, key string, wait time.Duration) (before, after Status, err error) {
	l, err := find(limiters, policy)
	if err != nil {
		return before, after, err
	}
	keys, err := keysOf(l, key)
	if err != nil {
		return before, after, fmt.Errorf("operate: %w", err)
	}
	used := ""
	for i, key := range keys {
		r, err := peek(ctx, l, key)
		if err != nil {
			return before, after, fmt.Errorf("operate: the key is unchanged: %w", err)
		}
		inUse := !r.Allowed || r.Shadowed || r.Remaining < r.Limit || r.ResetAfter > 0
		if inUse && used == "" {
			used = key
		}
		if i == 0 || used == key {
			before = status(key, r)
		}
	}
	switch {
	case used != "":
		keys = []string{used}
	case wait == 0:
		return before, after, unused(ctx, l, key)
	}
	for _, key := range keys { // those that the limiter may use for the text
		if err := l.Block(ctx, key, wait); err != nil {
			return before, after, fmt.Errorf("operate: the key is unchanged: %w", err)
		}
	}
	r, err := peek(ctx, l, keys[0])
	return before, status(keys[0], r), err
}

// peek returns the state of a key at the back-end.
func peek(ctx context.Context, l Limiter, key string) (ratelimit.Result, error) {
	r, err := l.AllowN(ctx, key, 0)
	if err == nil && r.Degraded {
		err = ratelimit.ErrUnavailable
	}
	return r, err
}

// unused is the error about a key that has used nothing.
func unused(ctx context.Context, l Limiter, text string) error {
	kind, id, ok := strings.Cut(text, ":")
	if !ok {
		kind, id = "", text
	}
	var close, others []string
	looked := 0
	for key := range l.Keys(ctx, "") {
		switch {
		case strings.Contains(strings.ToLower(key), strings.ToLower(strings.TrimSpace(id))):
			close = append(close, key)
		case strings.HasPrefix(key, kind+":"):
			others = append(others, key)
		}
		if looked++; looked == maxListed {
			break
		}
	}
	similar := "no key looks similar"
	if list := append(close, others...); len(list) > 0 {
		similar = "similar keys are " + strings.Join(list[:min(len(list), 5)], ", ")
	}
	return fmt.Errorf(`operate: the key %q of policy %s has used nothing, so there is nothing to unlock; %s; a key is a kind and an id, such as "ip:203.0.113.7" or "account:Anna Berg", or a key of a listing`, text, l.Policy().Name, similar)
}

// keysOf returns the keys that an operator may mean, the usual one first.
func keysOf(l Limiter, text string) ([]string, error) {
	if l, ok := l.(interface {
		OperatorKey(text string) (string, error)
	}); ok {
		key, err := l.OperatorKey(text)
		return []string{key}, err
	}
	if key := keyOf(text); key != text {
		return []string{key, text}, nil // the service may use keys that Key has not made
	}
	return []string{text}, nil
}

// keyOf returns the key that an operator means. Keys of a listing have no other characters
// than those of ratelimit.Key.
func keyOf(text string) string {
	kind, id, ok := strings.Cut(text, ":")
	if !ok || kind == "" || id == "" {
		return text
	}
	if kind == "ip" {
		if addr, err := netip.ParseAddr(id); err == nil {
			byIP, err := ratelimit.ByIP(nil)
			if err == nil {
				return byIP(&http.Request{RemoteAddr: net.JoinHostPort(addr.String(), "1"), Header: http.Header{}})
			}
		}
	}
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._@-:~", r)
	}
	if len(text) <= 128 && strings.IndexFunc(id, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return ratelimit.Key(kind, id)
}
