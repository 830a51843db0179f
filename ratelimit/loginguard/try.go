package loginguard

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/internal/link"
)

// try is one request that tries to log in.
type try struct {
	g                 *Guard
	address, account  string   // keys
	name              string   // for which devices and addresses are known, or "" if it is unclear
	accounts          []string // folded, that readers may find
	device, known     bool
	demoted           bool // known at an address that has used KnownAddress up
	checks            []ratelimit.Check
	shared            []int // indexes of those of networks and of all strangers
	admission         *ratelimit.Admission
	w                 http.ResponseWriter
	sends             *writer // what the handler gets
	r                 *http.Request
	addressesOwnLimit int // index of its check, or -1
}

// read finds the client, the account and the limits of a request.
func (g *Guard) read(w http.ResponseWriter, r *http.Request) (*try, error) {
	t := &try{g: g, w: w, r: r, addressesOwnLimit: -1, address: g.address(r)}
	accounts, name, all := g.accounts(r)
	t.accounts = accounts
	unique := all && len(accounts) == 1
	g.noteUnclear(!unique)
	if len(accounts) == 0 {
		g.noteRead(r)
	}
	if unique {
		g.sees(fieldRead)
	}
	if t.name = name; name == "" {
		t.strangers(accounts, all)
		return t, nil
	}
	t.account = ratelimit.Key("account", accounts[0])
	if id := g.cookies.device(r, t.name); id != "" {
		t.device = true
		t.add(g.byDevice, ratelimit.Key("device", id+" "+t.name))
		return t, nil
	}
	known, err := g.knows(r.Context(), t.address, t.name)
	if err != nil && !errors.Is(err, ratelimit.ErrUnavailable) {
		return t, err
	}
	if known {
		t.known = true
		t.add(g.byDevice, g.knownKey(0, t.address, t.name))
		t.add(g.byKnownAddress, t.address)
		return t, nil
	}
	t.strangers(accounts, all)
	return t, nil
}

// admit decides. At a known address that has used its limit for all accounts up the client is a stranger.
func (t *try) admit() (err error) {
	g := t.g
	t.admission, err = ratelimit.Admit(t.r.Context(), t.checks...)
	if err != nil || !t.known || t.admission.Decision().Allowed {
		return err
	}
	results := t.admission.Decision().Results
	if g.byKnownAddress == nil || results[len(results)-1].Allowed {
		return nil
	}
	g.spray(t, results[len(results)-1].Policy)
	t.checks, t.known, t.demoted = nil, false, true
	t.strangers(t.accounts, true)
	t.admission, err = ratelimit.Admit(t.r.Context(), t.checks...)
	return err
}

// knows reports whether an account has logged in from an address, or any account if account is "".
func (g *Guard) knows(ctx context.Context, address, account string) (bool, error) {
	for i := range g.cookies.secrets {
		if r, err := g.known.AllowN(ctx, g.knownKey(i, address, account), 0); err != nil || !r.Allowed {
			return err == nil, err
		}
	}
	return false, nil
}

// knownKey is the key of an address from which an account has logged in, or any account if account is "". A secret is
// part of it, so guards that share limiters do not know each other's addresses.
func (g *Guard) knownKey(secret int, address, account string) string {
	return ratelimit.Key("known", g.cookies.mac(g.cookies.secrets[secret], "address", address, account))
}

// accounts returns the folded names that readers of a request may find, and whether these are all. only is the one
// account that every reader finds, or "".
func (g *Guard) accounts(r *http.Request) (list []string, only string, all bool) {
	before, rest, several := strings.Cut(g.opts.Account(r), unclear)
	found, after := []string{before}, ""
	if several {
		found = strings.Split(rest, separator)
		after, found = found[len(found)-1], found[:len(found)-1]
	}
	all = len(found) > 0
	var exact []string
	for _, name := range found {
		if several && name != "" {
			name = before + name + after
		}
		folded := ""
		if name != "" {
			folded = g.opts.Fold(name)
		}
		if g.opts.oneAccount {
			name = folded
		}
		folded = strings.TrimSpace(folded) // the service's look-up may ignore blanks, also if Fold keeps them
		if !slices.Contains(exact, name) {
			exact = append(exact, name)
		}
		if folded == "" {
			all = false
		} else if !slices.Contains(list, folded) {
			list = append(list, folded)
		}
	}
	if all && len(exact) == 1 {
		only = exact[0]
	}
	return list, only, all
}

// Keys that many clients share.
const (
	unclearKey = "login:unclear"
	allKey     = "login:everyone"
)

// strangers limits a stranger. The limit of an account holds for every account that a reader may find. Where Field
// cannot read them all, they share one account: no login form sends such bodies. A guard that may read the
// wrong field lets them share it with their own address only.
func (t *try) strangers(accounts []string, all bool) {
	g := t.g
	if g.byAddress != nil {
		t.addressesOwnLimit = len(t.checks)
	}
	t.add(g.byAddress, t.address)
	if site := g.site(t.r); site != t.address { // the same for IPv4
		t.share(g.bySite, site)
	}
	t.share(g.byNetwork, g.network(t.r))
	var keys []string
	for _, name := range accounts {
		keys = append(keys, ratelimit.Key("account", name))
	}
	switch field := g.field.Load(); {
	case all:
	case field == fieldRead || field == fieldRight:
		keys = append(keys, unclearKey)
	default:
		keys = append(keys, ratelimit.Key("account", unclear+t.address))
	}
	t.account = keys[0]
	for _, key := range keys {
		t.add(g.byAccount, key)
	}
	t.share(g.everyone, allKey)
}

func (t *try) share(l ratelimit.Limiter, key string) {
	if l != nil {
		t.shared = append(t.shared, len(t.checks))
		t.add(l, key)
	}
}

func (t *try) add(l ratelimit.Limiter, key string) {
	if l != nil {
		t.checks = append(t.checks, ratelimit.Check{Limiter: l, Key: key, Cost: 1, FailuresOnly: true})
	}
}

// solved responds to a refused request. It returns an admission for a request with a solved
// challenge.
func (t *try) solved() *ratelimit.Admission {
	g := t.g
	d := t.admission.Decision()
	b := d.Binding()
	own := t.device // others have no part in it
	if t.addressesOwnLimit >= 0 && !d.Results[t.addressesOwnLimit].Allowed && !t.demoted {
		own = true
	}
	for _, i := range t.shared {
		if !d.Results[i].Allowed {
			g.spray(t, d.Results[i].Policy)
			break
		}
	}
	if !own && g.opts.Challenge != nil {
		if g.opts.Solved == nil || !g.opts.Solved(t.r) {
			g.notify(t, Event{Kind: Challenged, Policy: b.Policy, Wait: b.RetryAfter})
			g.opts.Challenge.ServeHTTP(t.w, t.r)
			return nil
		}
		// A challenge costs the attacker something, and a limit of its own stays: that of the address, or that of
		// the account there if other clients of the address have used it up.
		t.checks, t.addressesOwnLimit = nil, -1
		if t.demoted {
			t.add(g.byDevice, g.knownKey(0, t.address, t.name))
		} else if g.byAddress != nil {
			t.add(g.byAddress, t.address)
			t.addressesOwnLimit = 0
		}
		a, err := ratelimit.Admit(t.r.Context(), t.checks...)
		if err == nil && a.Decision().Allowed {
			return a
		}
		if err != nil {
			g.fail(t.w, t.r, err)
			return nil
		}
		d, b = a.Decision(), a.Decision().Binding()
	}
	t.refuse(d, b)
	return nil
}

// refuse responds to a refused request.
func (t *try) refuse(d *ratelimit.Decision, b ratelimit.Result) {
	g := t.g
	g.notify(t, Event{Kind: Refused, Policy: b.Policy, Wait: b.RetryAfter})
	d.WriteHeaders(t.w.Header())
	if g.opts.Denied != nil {
		g.opts.Denied(t.w, t.r, d)
		return
	}
	retry := int64((b.RetryAfter + time.Second - 1) / time.Second)
	body := `{"error":"rate_limited","message":"Too many failed logins. Try again later."}`
	if b.RetryAfter != ratelimit.Never && retry > 0 {
		body = `{"error":"rate_limited","message":"Too many failed logins. Try again later.","retry_after":` + strconv.FormatInt(retry, 10) + `}`
	}
	answer(t.w, t.r, http.StatusTooManyRequests, body)
}

// smallBody is the size up to which reading the body costs less than refused does.
const smallBody = 2 << 10

// refused decides on a request with a big body before the body is read. It returns the decision for an address that
// has used its limit up, from which no account has logged in, and without the cookie of a device. No account in
// the body could change that decision. Otherwise it returns nil.
func (g *Guard) refused(r *http.Request) *ratelimit.Decision {
	if g.byAddress == nil || r.Body == nil || r.ContentLength >= 0 && r.ContentLength <= smallBody || len(g.cookies.entries(r)) > 0 {
		return nil
	}
	address := g.address(r)
	own, err := g.byAddress.AllowN(r.Context(), address, 0)
	if err != nil || own.Allowed || own.InFlight > 0 { // the whole decision reports the error
		return nil
	}
	if known, err := g.knows(r.Context(), address, ""); err != nil || known {
		return nil
	}
	d, err := ratelimit.Decide(r.Context(), ratelimit.Check{Limiter: g.byAddress, Key: address, Cost: 1, FailuresOnly: true})
	if err != nil {
		return nil
	}
	if d.Allowed { // unlocked since
		_ = d.Cancel(r.Context()) // without an answer it counts as a failure
		return nil
	}
	return d
}

// outcome learns from the outcome of a try.
func (t *try) outcome(outcome int) {
	g := t.g
	ctx := context.WithoutCancel(t.r.Context())
	switch {
	case outcome == link.Failed:
	case t.name != "":
		g.sees(fieldRight)
	case len(t.accounts) == 0:
		g.sees(fieldWrong)
	}
	switch outcome {
	case link.Succeeded:
		if t.name == "" {
			return
		}
		t.sends.add(g.cookies.remember(t.r, t.name))
		if t.address != "ip:unknown" {
			var wg sync.WaitGroup
			for _, key := range []string{g.knownKey(0, t.address, t.name), g.knownKey(0, t.address, "")} {
				wg.Go(func() {
					if err := g.known.Block(ctx, key, g.knownFor); err != nil {
						g.opts.Logger.WarnContext(ctx, "loginguard: an address could not be remembered", "error", err)
					}
				})
			}
			wg.Wait()
		}
	case link.Failed:
		if t.addressesOwnLimit >= 0 {
			t.penalize(ctx)
		}
	}
}

// penalize refuses an address that has used its limit up: for longer each time. Of the failures that end together
// one adds a strike.
func (t *try) penalize(ctx context.Context) {
	g := t.g
	start, window := time.Now(), g.byAddress.Policy().Window
	r, err := g.byAddress.AllowN(ctx, t.address, 0)
	if err != nil || r.Allowed || r.InFlight > 0 || r.RetryAfter > window { // the last one is a block, which stays
		return
	}
	if first, err := g.exhausted.AllowN(ctx, t.address, 1); err != nil || !first.Allowed {
		return
	}
	s, err := g.strikes.AllowN(ctx, t.address, 1)
	if err != nil {
		return
	}
	strike := s.Limit - s.Remaining
	wait := min(max(window<<min(max(strike-1, 0), maxStrikes), 0), g.opts.MaxPenalty)
	longer := strike > 1 && wait > window
	if !longer { // the window is penalty enough
		wait = max(r.RetryAfter-time.Since(start), 0)
	}
	err = g.exhausted.Block(ctx, t.address, wait) // it ends before the address may try again
	if longer && err == nil {
		err = g.byAddress.Block(ctx, t.address, wait)
	}
	switch {
	case err != nil:
		g.opts.Logger.WarnContext(ctx, "loginguard: an address could not be refused for longer", "error", err)
	case longer:
		g.notify(t, Event{Kind: Penalized, Policy: g.byAddress.Policy().Name, Wait: wait})
	}
}
