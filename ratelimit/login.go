package ratelimit

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// LoginOptions change what LoginRules holds. Only the zero Policy stands for a default.
type LoginOptions struct {
	// Address is for one address. Default Login(), 5 an hour.
	Address Policy
	// Pair is for one account at one address. It matters where Address is looser, for a
	// school behind one address say, and is left out where it could never deny.
	// Default "login-pair", 5 an hour.
	Pair Policy
	// Account is for one account from everywhere: against guesses spread over many
	// addresses. Whoever knows the account's name can use it up and so lock its owner
	// out, which is why it is looser. Default "login-account", 50 an hour.
	Account Policy
	// Failed says which answers count. Default: those with a status of 400 and above.
	Failed func(status int) bool
}

// LoginRules returns the rules for a login: failed tries by address, by account at
// that address, and by account. Each try is counted before the handler sees it and
// given back if it succeeds, so tries sent in parallel gain nothing.
//
// newLimiter makes the limiters, address is the ByIP of the service, and account
// returns the name that somebody tries to log in as ("" if the request has none, such
// as a page), folded to one spelling; [JSONField] reads it from the body.
func LoginRules(newLimiter func(Policy) (Limiter, error), address KeyFunc, account func(*http.Request) string, opts *LoginOptions) ([]Rule, error) {
	if newLimiter == nil || address == nil || account == nil {
		return nil, errors.New("ratelimit: LoginRules needs newLimiter, address and account")
	}
	var o LoginOptions
	if opts != nil {
		o = *opts
	}
	if o.Address == (Policy{}) {
		o.Address = Login()
	}
	if o.Pair == (Policy{}) {
		o.Pair = Policy{Name: "login-pair", Limit: 5, Window: time.Hour}
	}
	if o.Account == (Policy{}) {
		o.Account = Policy{Name: "login-account", Limit: 50, Window: time.Hour}
	}
	refund := Succeeded
	if o.Failed != nil {
		refund = func(status int) bool { return !o.Failed(status) }
	}
	noAccount := func(r *http.Request) bool { return account(r) == "" }
	type part struct {
		policy Policy
		key    KeyFunc
		skip   func(*http.Request) bool
	}
	parts := []part{{policy: o.Address, key: address}}
	if !implies(o.Address, o.Pair) {
		parts = append(parts, part{
			policy: o.Pair,
			key:    func(r *http.Request) string { return Key("login", address(r)+" "+account(r)) },
			skip:   noAccount,
		})
	}
	parts = append(parts, part{
		policy: o.Account,
		key:    func(r *http.Request) string { return Key("account", account(r)) },
		skip:   noAccount,
	})
	var rules []Rule
	for _, p := range parts {
		if p.policy.Limit == Unlimited {
			continue
		}
		l, err := newLimiter(p.policy)
		if err != nil {
			return nil, err
		}
		rules = append(rules, Rule{Limiter: l, Key: p.key, Skip: p.skip, Refund: refund})
	}
	return rules, nil
}

// implies reports that whoever keeps to a keeps to b, when every use of b is one of a.
func implies(a, b Policy) bool {
	return a.Limit != Unlimited && !a.Shadow && a.Algorithm != GCRA && a.Limit <= b.Limit && a.Window >= b.Window
}

// maxFieldBody bounds what JSONField reads.
const maxFieldBody = 64 << 10

// JSONField returns a function that reads one string from a JSON object in the
// request's body, trimmed and in lower case, and leaves the body as it was for the
// handler. It returns "" when there is no such string within the first 64 KiB.
func JSONField(name string) func(*http.Request) string {
	return func(r *http.Request) string {
		if r.Body == nil || r.Body == http.NoBody {
			return ""
		}
		peeked, ok := r.Body.(*peekedBody)
		if !ok {
			head, err := io.ReadAll(io.LimitReader(r.Body, maxFieldBody))
			rest := io.Reader(r.Body)
			if err != nil {
				rest = errReader{err}
			}
			peeked = &peekedBody{Reader: io.MultiReader(bytes.NewReader(head), rest), Closer: r.Body, head: head}
			r.Body = peeked
		}
		var fields map[string]json.RawMessage
		if json.Unmarshal(peeked.head, &fields) != nil {
			return ""
		}
		var value string
		if json.Unmarshal(fields[name], &value) != nil {
			return ""
		}
		return strings.ToLower(strings.TrimSpace(value))
	}
}

// peekedBody is a body whose beginning has been looked at.
type peekedBody struct {
	io.Reader
	io.Closer
	head []byte
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
