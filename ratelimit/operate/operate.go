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
		if r, err := l.AllowN(ctx, "operate:list", 0); err != nil || r.Degraded { // a listing would be empty
			if err == nil {
				err = ratelimit.ErrUnavailable
			}
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

// Set blocks a key of a policy for a time, or unlocks it if wait is 0, and returns its status.
//
// The key is a key of a listing, or a kind and an id that is not hashed yet, such as
// "account:Anna Berg" or "ip:2001:db8::7".
func Set(ctx context.Context, limiters []Limiter, policy, key string, wait time.Duration) (Status, error) {
	l, err := find(limiters, policy)
	if err != nil {
		return Status{}, err
	}
	key = keyOf(key)
	if err := l.Block(ctx, key, wait); err != nil {
		return Status{}, fmt.Errorf("operate: the key is unchanged: %w", err)
	}
	r, err := l.AllowN(ctx, key, 0)
	return status(key, r), err
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
