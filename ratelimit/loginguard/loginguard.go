// Package loginguard protects a login form against guessing, without locking the owner of an
// account out.
//
//	guard, err := loginguard.New(secret, &loginguard.Options{Limiter: limiterOnRedis})
//	mux.Handle("POST /login/", guard.Wrap(login))
//
// The handler states the outcome with [ratelimit.AdmissionFrom]: Succeed after the right
// password, Pending when a second factor is still to come. Everything else is a failure,
// whatever the status of the answer.
//
// A device that has logged in before carries a signed cookie and has an allowance of its
// own for that account, and so does an address from which the account has logged in. The
// failures of others cannot spend those. Everybody else is a stranger, for whom failures are
// limited by address, by network, by account and in total. Where a limit that others can use
// up refuses a stranger, the service may ask for a challenge instead.
package loginguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/internal/link"
)

// Options configure a Guard. A zero Policy stands for its default; one whose Limit is
// ratelimit.Unlimited switches that limit off.
type Options struct {
	// Limiter makes the limiters, such as those of redislimit.Store. Default: in memory.
	Limiter func(ratelimit.Policy) (ratelimit.Limiter, error)
	// IP says how to find the address of a client. Its prefixes are ignored. Default: the
	// peer of the connection.
	IP *ratelimit.IPOptions
	// Account returns the name that a request tries to log in as, "" if it has none.
	// Default: the field "username" of a form or of a JSON object; see [Field].
	Account func(*http.Request) string
	// Fold maps names that the service's own look-up holds equal to one spelling. Default:
	// trimmed and in lower case.
	Fold func(string) string
	// Guessing says which requests try to log in. Default: all except GET, HEAD and OPTIONS.
	Guessing func(*http.Request) bool

	// Address limits the failures of strangers from one address: a /64 of IPv6. Default:
	// ratelimit.Login(), 5 an hour.
	Address ratelimit.Policy
	// Site is for one /56 of IPv6. Default: twice Address.
	Site ratelimit.Policy
	// Network is for one /48 of IPv6 or one /24 of IPv4. Default: 6 times Address.
	Network ratelimit.Policy
	// Account limits the failures of strangers at one account. Default: 10 times Address.
	AccountLimit ratelimit.Policy
	// Everyone limits the failures of all strangers together: many accounts are tried a few
	// times each from many networks. Default: 200 times Address.
	Everyone ratelimit.Policy
	// Device is for one account on a device that has logged in to it, and also for one account
	// at an address from which it has logged in. Default: as much as Address.
	Device ratelimit.Policy
	// Remember is how long a device and an address are known. Default: 90 days, of which an
	// address is known for 30 at most.
	Remember time.Duration
	// MaxPenalty bounds how long an address is refused that uses Address up again and again:
	// a window, then twice as long each time within a day. Default: 24 h.
	MaxPenalty time.Duration

	// Challenge answers a stranger whom a limit refuses that others can use up, such as with a
	// captcha or a code by mail. Default: nil; such a stranger is refused with 429.
	Challenge http.Handler
	// Solved says whether a request comes with a solved challenge. It may then try although
	// that limit is used up. Default: nil; none does.
	Solved func(*http.Request) bool

	// Cookie is the name of the device's cookie. Default: "login_device".
	Cookie string
	// Insecure leaves the Secure attribute off for requests that come without TLS, here and
	// by X-Forwarded-Proto. Default: false.
	Insecure bool
	// OldSecrets are accepted beside the secret that signs, while it is replaced. Default: none.
	OldSecrets [][]byte
	// Notify receives what the guard does. Default: nil.
	Notify func(context.Context, Event)
	// Logger receives what only the operator can fix, and the first sign of an attack.
	// Default: slog.Default().
	Logger *slog.Logger
}

// Event is something that the guard did.
type Event struct {
	// Kind is what it did.
	Kind Kind
	// Policy is the name of the policy that refused, if one did.
	Policy string
	// Address and Account are the keys of the request.
	Address, Account string
	// Wait is how long the client was told to wait, or is refused.
	Wait time.Duration
}

// Kind is a kind of Event.
type Kind string

// The kinds of events.
const (
	// Refused is an answer 429.
	Refused Kind = "refused"
	// Challenged is an answer of Options.Challenge.
	Challenged Kind = "challenged"
	// Sprayed means that failures at many accounts use up the limit of a network or of all
	// strangers: somebody tries a few passwords at each of many accounts.
	Sprayed Kind = "sprayed"
	// Penalized means that an address is refused for longer than a window.
	Penalized Kind = "penalized"
)

// Guard protects a login. [New] makes it. It is safe for concurrent use.
type Guard struct {
	opts                                 Options
	cookies                              cookies
	address, site, network               ratelimit.KeyFunc
	byAddress, bySite, byNetwork         ratelimit.Limiter
	byAccount, everyone, byDevice, known ratelimit.Limiter
	strikes                              ratelimit.Limiter
	knownFor                             time.Duration
	tries, unclear                       atomic.Int64
	sprayed                              atomic.Int64 // Unix seconds of the last report
}

const (
	day         = 24 * time.Hour
	knownAtMost = 30 * day
	maxStrikes  = 16
)

// New returns a guard. The secret signs the cookies of devices: at least 32 random bytes, the
// same in all instances and kept across restarts. opts may be nil.
func New(secret []byte, opts *Options) (*Guard, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if len(secret) < 32 {
		return nil, fmt.Errorf("loginguard: a secret of %d bytes can be guessed; use at least 32 random ones", len(secret))
	}
	if o.Limiter == nil {
		o.Limiter = func(p ratelimit.Policy) (ratelimit.Limiter, error) { return ratelimit.NewMemory(p, nil) }
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Account == nil {
		o.Account = Field("username")
	}
	if o.Fold == nil {
		o.Fold = fold
	}
	if o.Guessing == nil {
		o.Guessing = func(r *http.Request) bool {
			return r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions
		}
	}
	if o.Cookie == "" {
		o.Cookie = "login_device"
	}
	if o.Remember == 0 {
		o.Remember = 90 * day
	}
	if o.MaxPenalty == 0 {
		o.MaxPenalty = day
	}
	if o.Remember < 0 || o.MaxPenalty < 0 || o.MaxPenalty > knownAtMost {
		return nil, fmt.Errorf("loginguard: Remember must not be negative, and MaxPenalty must be from 0 to %v", knownAtMost)
	}
	if o.Solved != nil && o.Challenge == nil {
		return nil, errors.New("loginguard: Solved needs a Challenge that can be solved")
	}
	g := &Guard{opts: o, knownFor: min(o.Remember, knownAtMost)}
	g.cookies = cookies{secrets: append([][]byte{secret}, o.OldSecrets...), name: o.Cookie, keep: o.Remember, secure: !o.Insecure}
	if err := g.keys(); err != nil {
		return nil, err
	}
	return g, g.limiters()
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
		{&g.known, ratelimit.Policy{Name: "login-known", Limit: 1, Window: g.knownFor}, "", 1},
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
	addressesOwnLimit int // index of its check, -1 if there is none
}

// Wrap is the middleware.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.opts.Guessing(r) {
			next.ServeHTTP(w, r)
			return
		}
		t, err := g.read(w, r)
		if err == nil {
			t.admission, err = ratelimit.Admit(r.Context(), t.checks...)
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
		link.OnOutcome(t.admission, t.outcome)
		next.ServeHTTP(w, r.WithContext(t.admission.Context(r.Context())))
	})
}

// read finds out who tries, and what limits that.
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

// solved answers a request that is refused. It returns an admission when the request comes
// with a solved challenge.
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
	retry := int64((b.RetryAfter + time.Second - 1) / time.Second)
	body := `{"error":"rate_limited","message":"Too many failed logins. Try again later."}`
	if b.RetryAfter != ratelimit.Never && retry > 0 {
		body = `{"error":"rate_limited","message":"Too many failed logins. Try again later.","retry_after":` + strconv.FormatInt(retry, 10) + `}`
	}
	answer(t.w, t.r, http.StatusTooManyRequests, body)
	return nil
}

// outcome learns from what became of a try.
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

// Unlock forgets the failures of strangers at an account.
func (g *Guard) Unlock(ctx context.Context, account string) error {
	if g.byAccount == nil {
		return nil
	}
	return g.byAccount.Block(ctx, ratelimit.Key("account", g.opts.Fold(account)), 0)
}

// Limiters returns the limiters of the guard, for operators: see package operate.
func (g *Guard) Limiters() (list []ratelimit.Limiter) {
	for _, l := range []ratelimit.Limiter{g.byAddress, g.bySite, g.byNetwork, g.byAccount, g.everyone, g.byDevice} {
		if l != nil {
			list = append(list, l)
		}
	}
	return list
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

// noteUnclear warns once of a login whose every body is unclear.
func (g *Guard) noteUnclear(yes bool) {
	tries := g.tries.Add(1)
	if yes && g.unclear.Add(1) == 20 && tries == 20 {
		g.opts.Logger.Warn("loginguard: no account can be read from any of 20 logins, so they are limited by address only; set Options.Account to what reads the name")
	}
}

func (g *Guard) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, ratelimit.ErrUnavailable) || r.Context().Err() != nil {
		w.Header().Set("Retry-After", "1")
		answer(w, r, http.StatusServiceUnavailable, `{"error":"unavailable","message":"The service cannot answer right now.","retry_after":1}`)
		return
	}
	g.opts.Logger.ErrorContext(r.Context(), "loginguard: a login could not be limited", "error", err)
	answer(w, r, http.StatusInternalServerError, `{"error":"internal","message":"The service could not answer."}`)
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
