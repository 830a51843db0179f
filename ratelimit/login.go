package ratelimit

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// LoginOptions change what LoginRules holds. Only the zero Policy stands for a default;
// one whose Limit is Unlimited is switched off.
type LoginOptions struct {
	// Address is for one address. Default: Login(), 5 an hour.
	Address Policy
	// Pair is for one account at one address. Set it where Address must be looser than
	// what one account may fail, for a school behind one address say. It is left out
	// where it could never deny. Default: Address under the name "login-pair", so that
	// raising Address raises both; 5 an hour where Address is switched off.
	Pair Policy
	// Account is for one account from everywhere: against guesses spread over many
	// addresses. Whoever knows the account's name can use it up and so lock its owner
	// out, which is why it is looser. Default: "login-account", 50 an hour, or as much
	// as Pair where that is more.
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
// as a page), folded to one spelling; [JSONField] reads it from the body. An account
// for which it returns "" is limited by its address only.
//
// A policy that is FailOpen is refused. The rules are none where all three policies are switched off, and a middleware of no
// rules lets everything through.
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
		o.Pair = o.Address
		if o.Pair.Limit == Unlimited {
			o.Pair = Login()
		}
		o.Pair.Name = "login-pair"
	}
	if o.Account == (Policy{}) {
		o.Account = Policy{Limit: 50, Window: time.Hour}
		if o.Pair.Limit > o.Account.Limit {
			o.Account = o.Pair
		}
		o.Account.Name = "login-account"
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
		switch {
		case p.policy.Limit == Unlimited:
			continue
		case p.policy.OnFailure == FailOpen:
			return nil, fmt.Errorf("ratelimit: policy %s: a login that fails open can be guessed at while Redis is away; use FailLocal or FailClosed", p.policy.Name)
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
