// Package loginguard protects a login form against guessing, without locking the owner of an
// account out.
//
//	guard, err := loginguard.New(secret, &loginguard.Options{Limiter: limiterOnRedis})
//	mux.Handle("POST /login/", guard.Wrap(login))
//
// The handler states the outcome with [ratelimit.AdmissionFrom]: Succeed after the right
// password, Pending when a second factor is still to come. Every other request is a failure,
// with any status.
//
// A device that has logged in before carries a signed cookie and has an allowance of its
// own for that account, and so does an address from which the account has logged in. The
// failures of others cannot spend those. The failures of all accounts at a known address are limited together: beyond
// that the address is not known for a while, and clients without a cookie are strangers there. Any other client is a stranger, for whom failures are
// limited by address, by network, by account and in total. A shared limit may
// challenge a stranger instead of refusing. A request in which two readers may find different
// accounts comes from a stranger, and counts for each of these accounts.
package loginguard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mainstay-go/mainstay/internal/keyfile"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/internal/link"
)

// Guard protects a login. [New] makes it. It is safe for concurrent use.
type Guard struct {
	opts                          Options
	cookies                       cookies
	address, site, network        ratelimit.KeyFunc
	byAddress, bySite, byNetwork  ratelimit.Limiter
	byAccount, everyone, byDevice ratelimit.Limiter
	byKnownAddress                ratelimit.Limiter
	known, exhausted, strikes     ratelimit.Limiter // memory of the guard: see package operate for the others
	knownFor                      time.Duration
	tries, unclear                atomic.Int64
	field                         atomic.Int32 // what is known about Options.Account: see sees
	late, consumed                atomic.Bool  // that have been reported: a late cookie, a body that was read before
	sprayed                       atomic.Int64 // Unix seconds of the last report
}

// New returns a guard. The secret signs the cookies of devices: at least 32 random bytes, the
// same in all instances and kept across restarts. opts may be nil.
func New(secret []byte, opts *Options) (*Guard, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := validSecrets(secret, o.OldSecrets); err != nil {
		return nil, err
	}
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	g := &Guard{opts: o, knownFor: min(o.Remember, knownAtMost)}
	g.cookies = cookies{secrets: slices.Insert(slices.Clone(o.OldSecrets), 0, secret), name: o.Cookie, keep: o.Remember, secure: !o.Insecure}
	if err := g.keys(); err != nil {
		return nil, err
	}
	if err := g.limiters(); err != nil {
		return nil, err
	}
	g.noteTwin()
	if o.Challenge == nil && g.everyone != nil {
		o.Logger.Warn("loginguard: there is no challenge, so failures of strangers can use the limit of all strangers up, and then the guard refuses every new device and address for up to a window; set Options.Challenge, such as a captcha or a code by mail, or set the Limit of Options.Everyone to Unlimited", "policy", g.everyone.Policy().Name, "limit", g.everyone.Policy().Limit)
	}
	return g, nil
}

var twins sync.Map // what guards know each other's devices by, and whether this has been reported

// noteTwin warns once of two guards of one process that accept each other's devices.
func (g *Guard) noteTwin() {
	id := g.cookies.name + g.cookies.mac(g.cookies.secrets[0], "guard")
	if reported, twice := twins.LoadOrStore(id, new(atomic.Bool)); twice && reported.(*atomic.Bool).CompareAndSwap(false, true) {
		g.opts.Logger.Warn("loginguard: two guards have one secret and one Cookie, so a device that is known to one is known to the other, for an account of the same name; use one guard for both logins if they have the same accounts, or else give one guard another Cookie", "cookie", g.cookies.name)
	}
}

// SecretFile returns the secret in the file at path, for New. If there is no file, SecretFile creates it with a random
// secret, readable by its owner alone. Instances on several hosts need the same file, or a secret from their settings.
func SecretFile(path string) ([]byte, error) {
	secret, err := keyfile.Read(path)
	if err != nil {
		return nil, fmt.Errorf("loginguard: the secret: %w", err)
	}
	return secret, nil
}

func (g *Guard) keys() error {
	var ip ratelimit.IPOptions
	if g.opts.IP != nil {
		ip = *g.opts.IP
	}
	for _, tier := range []struct {
		key    *ratelimit.KeyFunc
		v4, v6 int
	}{{&g.address, 32, 64}, {&g.site, 32, 56}, {&g.network, 24, 48}} {
		ip.IPv4Prefix, ip.IPv6Prefix = tier.v4, tier.v6
		f, err := ratelimit.ByIP(&ip)
		if err != nil {
			return err
		}
		*tier.key = f
	}
	return nil
}

// limiters makes the limiters, with defaults in proportion to that of one address.
func (g *Guard) limiters() error {
	o := &g.opts
	base := o.Address
	if base == (ratelimit.Policy{}) {
		base = ratelimit.Login()
	}
	unit := base
	if unit.Limit == ratelimit.Unlimited {
		unit = ratelimit.Login()
	}
	for _, p := range []struct {
		to     *ratelimit.Limiter
		policy ratelimit.Policy
		name   string
		times  int
	}{
		{&g.byAddress, base, base.Name, 1},
		{&g.bySite, o.Site, "login-site", 2},
		{&g.byNetwork, o.Network, "login-network", 6},
		{&g.byAccount, o.AccountLimit, "login-account", 10},
		{&g.everyone, o.Everyone, "login-everyone", 200},
		{&g.byDevice, o.Device, "login-device", 1},
		{&g.byKnownAddress, o.KnownAddress, "login-known-address", 10},
		{&g.known, ratelimit.Policy{Name: "login-known", Limit: 1, Window: g.knownFor}, "", 1},
		{&g.exhausted, ratelimit.Policy{Name: "login-exhausted", Limit: 1, Window: unit.Window}, "", 1},
		{&g.strikes, ratelimit.Policy{Name: "login-strikes", Limit: maxStrikes, Window: day}, "", 1},
	} {
		if p.policy == (ratelimit.Policy{}) {
			p.policy = unit
			p.policy.Name, p.policy.Limit = p.name, unit.Limit*p.times
		}
		if p.policy.Limit == ratelimit.Unlimited {
			continue
		}
		if p.policy.OnFailure == ratelimit.FailOpen {
			return fmt.Errorf("loginguard: policy %s: a login that fails open can be guessed at while Redis is away; use FailLocal or FailClosed", p.policy.Name)
		}
		l, err := o.Limiter(p.policy)
		if err != nil {
			return err
		}
		*p.to = l
	}
	return nil
}

// Wrap is the middleware. It adds the cookie of a device when next sends the header of the
// response, so next calls Succeed before it writes.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.opts.Guessing(r) {
			next.ServeHTTP(w, r)
			return
		}
		if d := g.refused(r); d != nil {
			t := &try{g: g, w: w, r: r, address: g.address(r)}
			t.refuse(d, d.Binding())
			return
		}
		t, err := g.read(w, r)
		if err == nil {
			err = t.admit()
		}
		if err != nil {
			g.fail(w, r, err)
			return
		}
		if !t.admission.Decision().Allowed {
			if t.admission = t.solved(); t.admission == nil {
				return
			}
		}
		defer t.admission.End()
		t.sends = &writer{ResponseWriter: w, late: g.noteLate}
		defer t.sends.send()
		link.Guarded(t.admission, g, g.opts.Logger, t.outcome)
		next.ServeHTTP(t.sends, r.WithContext(t.admission.Context(r.Context())))
	})
}

// Unlock forgets the failures of strangers at an account.
func (g *Guard) Unlock(ctx context.Context, account string) error {
	if g.byAccount == nil {
		return nil
	}
	return g.byAccount.Block(ctx, g.accountOf(account), 0)
}

func (g *Guard) notify(t *try, e Event) {
	if g.opts.Notify != nil {
		e.Address, e.Account = t.address, t.account
		g.opts.Notify(t.r.Context(), e)
	}
}

// spray reports, once a minute, that many accounts are tried.
func (g *Guard) spray(t *try, policy string) {
	now := time.Now().Unix()
	last := g.sprayed.Load()
	if now-last < 60 || !g.sprayed.CompareAndSwap(last, now) {
		return
	}
	g.opts.Logger.WarnContext(t.r.Context(), "loginguard: failures at many accounts have used a limit up: passwords are sprayed", "policy", policy, "address", t.address)
	g.notify(t, Event{Kind: Sprayed, Policy: policy})
}

// What is known about Options.Account. It may read another field than the login form sends, and scanners send many fields.
const (
	_          = iota // nothing yet
	fieldRead         // a request has a clear account
	fieldWrong        // a login without an account has succeeded, and none with a clear one
	fieldRight        // a login with a clear account has succeeded
)

// sees notes what a request shows about Options.Account.
func (g *Guard) sees(field int32) {
	for old := g.field.Load(); old < field && !g.field.CompareAndSwap(old, field); old = g.field.Load() {
	}
}

// noteLate warns once of a device that gets no cookie.
func (g *Guard) noteLate() {
	if g.late.CompareAndSwap(false, true) {
		g.opts.Logger.Warn("loginguard: a handler stated a success after it had sent the header or taken the connection over, so the device has no cookie and its user is a stranger at another address; let the handler call Succeed before it writes")
	}
}

// noteRead warns once of a request whose body a middleware has read in front of the guard.
func (g *Guard) noteRead(r *http.Request) {
	if !g.consumed.Load() && consumed(r) && g.consumed.CompareAndSwap(false, true) {
		g.opts.Logger.Warn("loginguard: a middleware in front of the guard has read the body, so the guard cannot read the account and limits by address only; put the guard in front of it, or let it restore the body")
	}
}

// noteUnclear warns once of a login without a clear account in any request.
func (g *Guard) noteUnclear(yes bool) {
	tries := g.tries.Add(1)
	if yes && g.unclear.Add(1) == 20 && tries == 20 {
		g.opts.Logger.Warn("loginguard: no account can be read from any of 20 logins, so they are limited by address only; set Options.Account to what reads the name, such as loginguard.Field(\"email\")")
	}
}

func (g *Guard) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, body := http.StatusInternalServerError, `{"error":"internal","message":"The service could not answer."}`
	if errors.Is(err, ratelimit.ErrUnavailable) || r.Context().Err() != nil {
		w.Header().Set("Retry-After", "1")
		status, body = http.StatusServiceUnavailable, `{"error":"unavailable","message":"The service cannot answer right now.","retry_after":1}`
	} else {
		g.opts.Logger.ErrorContext(r.Context(), "loginguard: a login could not be limited", "error", err)
	}
	if g.opts.Failed != nil {
		g.opts.Failed(w, r, status)
		return
	}
	answer(w, r, status, body)
}

func answer(w http.ResponseWriter, r *http.Request, status int, body string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Length")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write([]byte(body + "\n"))
	}
}
