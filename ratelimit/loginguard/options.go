package loginguard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Options configure a Guard. A zero Policy stands for its default; one whose Limit is
// ratelimit.Unlimited switches that limit off.
type Options struct {
	// Limiter makes the limiters, such as those of redislimit.Store. Default: in memory.
	Limiter func(ratelimit.Policy) (ratelimit.Limiter, error)
	// IP says how to find the address of a client. Its prefixes are ignored. Default: the
	// peer of the connection.
	IP *ratelimit.IPOptions
	// Account returns the account of a login request, or "". Requests without an account share the
	// limit of one account, and no device becomes known by them. A second step of a login gets
	// the account from the service's own state, such as its session.
	// Default: the field "username" of a form or of a JSON object; see [Field].
	Account func(*http.Request) string
	// Fold maps names that the service's own look-up holds equal to one spelling. Such names are one account.
	// Limits ignore blanks around them. Default: limits hold for names in lower case, and a device or an address is known
	// for the exact name that has logged in there.
	Fold func(string) string
	// Guessing says which requests try to log in. Default: all except GET, HEAD and OPTIONS, and
	// of these the requests whose query, body or header names an account, such as with basic authentication.
	// So a GET, HEAD or OPTIONS request has no limit if its account is in the path, in a cookie, or in a parameter that
	// Account does not read. Set Guessing if such a request can log in.
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
	// times each from many networks. It needs a Challenge: without one, its end refuses every new device.
	// Default: 200 times Address.
	Everyone ratelimit.Policy
	// Device is for one account on a device that has logged in to it, and also for one account
	// at an address from which it has logged in. Default: as much as Address.
	Device ratelimit.Policy
	// KnownAddress limits the failures of all accounts together at an address from which they have logged in, on
	// devices without a cookie. When it is used up, such clients are strangers. Default: 10 times Address.
	KnownAddress ratelimit.Policy
	// Remember is how long a device and an address are known. An address is known for at
	// most 30 days. Default: 90 days.
	Remember time.Duration
	// MaxPenalty bounds how long an address is refused that uses Address up again and again:
	// a window, then twice as long each time within a day. Default: 24 h.
	MaxPenalty time.Duration

	// Denied writes the response to a refused login instead of the default one. The header fields are set already.
	// Default: nil; JSON with status 429.
	Denied func(w http.ResponseWriter, r *http.Request, d *ratelimit.Decision)
	// Failed writes the response to a login that could not be limited instead of the default one: status is 503 while a
	// back-end is not available, and 500 for a mistake, which is logged. Default: nil; JSON.
	Failed func(w http.ResponseWriter, r *http.Request, status int)
	// Challenge responds to strangers that a shared limit refuses, such as with a
	// captcha or a code by mail. Default: nil; such a stranger is refused with 429, and strangers of 34
	// networks can use Everyone up.
	Challenge http.Handler
	// Solved says whether a request comes with a solved challenge. It may then try although
	// that limit is used up. Default: nil; no request does.
	Solved func(*http.Request) bool

	// Cookie is the name of the device's cookie. It also separates guards that share a secret: devices and
	// addresses are known to guards of the same name and secret only. A name with the prefix "__Host-" does not go
	// with Insecure. Default: "login_device".
	Cookie string
	// Insecure leaves the Secure attribute off for requests that come without TLS, here and
	// by X-Forwarded-Proto. Default: false.
	Insecure bool
	// OldSecrets are accepted beside the secret that signs, while it is replaced. They are as long as a secret.
	// Default: nil.
	OldSecrets [][]byte
	// Notify receives the events of the guard. Default: nil.
	Notify func(context.Context, Event)
	// Logger receives mistakes that only the operator can fix, and the first sign of an attack.
	// Default: slog.Default().
	Logger *slog.Logger

	oneAccount bool // Fold says which names are one account
}

// Event is an action of the guard.
type Event struct {
	// Kind is the kind of action.
	Kind Kind
	// Policy is the name of the policy that refused, if one did.
	Policy string
	// Address and Account are the keys of the request.
	Address, Account string
	// Wait is the wait in the response, or the length of a penalty.
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
	// Sprayed means that failures at many accounts use up the limit of a network, of a known address or of all
	// strangers: an attacker tries a few passwords at each of many accounts.
	Sprayed Kind = "sprayed"
	// Penalized means that an address is refused for longer than a window.
	Penalized Kind = "penalized"
)

const (
	day         = 24 * time.Hour
	knownAtMost = 30 * day
	maxStrikes  = 16
)

func (o *Options) setDefaults() error {
	if o.Limiter == nil {
		o.Limiter = func(p ratelimit.Policy) (ratelimit.Limiter, error) { return ratelimit.NewMemory(p, nil) }
	}
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Account == nil {
		o.Account = Field("username")
	}
	o.oneAccount = o.Fold != nil
	if o.Fold == nil {
		o.Fold = func(s string) string { return strings.ToLower(strings.TrimSpace(s)) }
	}
	if o.Guessing == nil {
		o.Guessing = func(r *http.Request) bool {
			return r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions || o.named(r)
		}
	}
	o.Cookie = cmp.Or(o.Cookie, "login_device")
	o.Remember = cmp.Or(o.Remember, 90*day)
	o.MaxPenalty = cmp.Or(o.MaxPenalty, day)
	if o.Remember < time.Second || o.MaxPenalty < 0 || o.MaxPenalty > knownAtMost {
		return fmt.Errorf("loginguard: Remember must be at least a second, and MaxPenalty must be from 0 to %v", knownAtMost)
	}
	if (&http.Cookie{Name: o.Cookie, Value: "x"}).Valid() != nil {
		return fmt.Errorf("loginguard: %q is no name of a cookie, so no device would be known; use letters, digits and underscores", o.Cookie)
	}
	if name := strings.ToLower(o.Cookie); o.Insecure && (strings.HasPrefix(name, "__host-") || strings.HasPrefix(name, "__secure-")) {
		return fmt.Errorf("loginguard: browsers refuse a cookie %q without the attribute Secure, so no device would be known; use another name, or leave Insecure out", o.Cookie)
	}
	if o.Solved != nil && o.Challenge == nil {
		return errors.New("loginguard: Solved needs a Challenge that can be solved")
	}
	return nil
}

// named reports whether the query, the body or a header names an account: without them the account is another one. A
// cookie names an account that has logged in before, so it is no guess.
func (o *Options) named(r *http.Request) bool {
	bare, address := *r, url.URL{}
	if r.URL != nil {
		address = *r.URL
	}
	address.RawQuery = ""
	bare.URL, bare.Body, bare.Form, bare.PostForm, bare.MultipartForm = &address, http.NoBody, nil, nil, nil
	bare.Header = http.Header{"Cookie": r.Header["Cookie"]}
	return o.Account(r) != o.Account(&bare)
}
