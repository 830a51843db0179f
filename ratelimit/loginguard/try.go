package loginguard

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/internal/link"
)

// try is one request that tries to log in.
type try struct {
	g                 *Guard
	address, account  string // keys
	name              string // folded
	device, known     bool
	checks            []ratelimit.Check
	admission         *ratelimit.Admission
	w                 http.ResponseWriter
	r                 *http.Request
	addressesOwnLimit int // index of its check, or -1
}

// read finds the client, the account and the limits of a request.
func (g *Guard) read(w http.ResponseWriter, r *http.Request) (*try, error) {
	t := &try{g: g, w: w, r: r, addressesOwnLimit: -1, address: g.address(r)}
	name := g.opts.Account(r)
	if name == unclear { // no two addresses share such a name
		g.noteUnclear(true)
		name += t.address
	} else {
		g.noteUnclear(false)
		name = g.opts.Fold(name)
	}
	t.name = name
	if name == "" {
		t.strangers(r)
		return t, nil
	}
	t.account = ratelimit.Key("account", name)
	if id := g.cookies.device(r, name); id != "" {
		t.device = true
		t.add(g.byDevice, ratelimit.Key("device", id+" "+name))
		return t, nil
	}
	if g.known != nil {
		res, err := g.known.AllowN(r.Context(), t.pair(), 0)
		if err != nil && !errors.Is(err, ratelimit.ErrUnavailable) {
			return t, err
		}
		if err == nil && !res.Allowed {
			t.known = true
			t.add(g.byDevice, t.pair())
			return t, nil
		}
	}
	t.strangers(r)
	return t, nil
}

func (t *try) pair() string { return ratelimit.Key("known", t.address+" "+t.name) }

func (t *try) strangers(r *http.Request) {
	g := t.g
	if g.byAddress != nil {
		t.addressesOwnLimit = len(t.checks)
	}
	t.add(g.byAddress, t.address)
	if site := g.site(r); site != t.address { // the same for IPv4
		t.add(g.bySite, site)
	}
	t.add(g.byNetwork, g.network(r))
	if t.account != "" {
		t.add(g.byAccount, t.account)
	}
	t.add(g.everyone, "login:everyone")
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
	own := t.device || t.known // others have no part in it
	if t.addressesOwnLimit >= 0 && !d.Results[t.addressesOwnLimit].Allowed {
		own = true
	}
	for i := range d.Results {
		if l := t.checks[i].Limiter; !d.Results[i].Allowed && (l == g.everyone || l == g.byNetwork || l == g.bySite) && t.account != "" {
			g.spray(t, d.Results[i].Policy)
			break
		}
	}
	if t.known || !own && g.opts.Challenge != nil {
		if g.opts.Challenge != nil {
			if g.opts.Solved == nil || !g.opts.Solved(t.r) {
				g.notify(t, Event{Kind: Challenged, Policy: b.Policy, Wait: b.RetryAfter})
				g.opts.Challenge.ServeHTTP(t.w, t.r)
				return nil
			}
			// A challenge costs the attacker something, and the address's own limit stays.
			t.checks = nil
			t.add(g.byAddress, t.address)
			a, err := ratelimit.Admit(t.r.Context(), t.checks...)
			if err == nil && a.Decision().Allowed {
				t.addressesOwnLimit = 0
				if g.byAddress == nil {
					t.addressesOwnLimit = -1
				}
				return a
			}
			if err != nil {
				g.fail(t.w, t.r, err)
				return nil
			}
			d, b = a.Decision(), a.Decision().Binding()
		}
	}
	g.notify(t, Event{Kind: Refused, Policy: b.Policy, Wait: b.RetryAfter})
	d.WriteHeaders(t.w.Header())
	if g.opts.Denied != nil {
		g.opts.Denied(t.w, t.r, d)
		return nil
	}
	retry := int64((b.RetryAfter + time.Second - 1) / time.Second)
	body := `{"error":"rate_limited","message":"Too many failed logins. Try again later."}`
	if b.RetryAfter != ratelimit.Never && retry > 0 {
		body = `{"error":"rate_limited","message":"Too many failed logins. Try again later.","retry_after":` + strconv.FormatInt(retry, 10) + `}`
	}
	answer(t.w, t.r, http.StatusTooManyRequests, body)
	return nil
}

// outcome learns from the outcome of a try.
func (t *try) outcome(outcome int) {
	g := t.g
	ctx := context.WithoutCancel(t.r.Context())
	switch outcome {
	case link.Succeeded:
		if t.name == "" || t.account == "" {
			return
		}
		g.cookies.remember(t.w, t.r, t.name)
		if g.known != nil && t.address != "ip:unknown" {
			if err := g.known.Block(ctx, t.pair(), g.knownFor); err != nil {
				g.opts.Logger.WarnContext(ctx, "loginguard: an address could not be remembered", "error", err)
			}
		}
	case link.Failed:
		if t.addressesOwnLimit >= 0 {
			t.penalize(ctx)
		}
	}
}

// penalize refuses an address that has used its limit up: for longer each time.
func (t *try) penalize(ctx context.Context) {
	g := t.g
	if r, err := g.byAddress.AllowN(ctx, t.address, 0); err != nil || r.Allowed || r.InFlight > 0 {
		return
	}
	r, err := g.strikes.AllowN(ctx, t.address, 1)
	if err != nil || r.Limit == ratelimit.Unlimited {
		return
	}
	strike := r.Limit - r.Remaining
	wait := g.byAddress.Policy().Window << min(max(strike-1, 0), maxStrikes)
	wait = min(max(wait, 0), g.opts.MaxPenalty)
	if strike < 2 || wait <= g.byAddress.Policy().Window {
		return // the window is penalty enough
	}
	if err := g.byAddress.Block(ctx, t.address, wait); err != nil {
		g.opts.Logger.WarnContext(ctx, "loginguard: an address could not be refused for longer", "error", err)
		return
	}
	g.notify(t, Event{Kind: Penalized, Policy: g.byAddress.Policy().Name, Wait: wait})
}
