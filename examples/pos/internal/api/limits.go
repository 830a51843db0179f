package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
	"github.com/mainstay-go/mainstay/ratelimit/operate"
)

type middleware func(http.Handler) http.Handler

// unlimited takes the place of a policy that is off.
func unlimited(next http.Handler) http.Handler { return next }

// limits are the policies, each in front of its routes. Requests of the shop's pages count by
// till, and those of programs by token. Reading and selling have separate limits, so a till
// that has read many cards can still sell.
type limits struct {
	login, reads, cancels, sale, topUp, downloads middleware
	status                                        http.Handler
	address                                       ratelimit.KeyFunc
	all                                           []operate.Limiter
}

// A download of all sales uses a database connection until the client has read it all. The
// limit keeps connections free when one user starts many downloads.
var downloads = concurrency.Policy{Name: "downloads", Limit: 4, RetryAfter: 5 * time.Second}

// The end of a key stays in the database for 400 days. The limit is far above what the tills of a
// user need, also during an outage.
var cancels = ratelimit.Policy{Name: "cancel", Limit: 300, Window: time.Hour}

// Limiters returns the limiters of a server with these settings, for the command of an operator.
func Limiters(cfg Config) ([]operate.Limiter, error) {
	l, err := newLimits(cfg)
	if err != nil {
		return nil, err
	}
	return l.all, nil
}

func newLimits(cfg Config) (*limits, error) {
	s := cfg.Settings
	l := &limits{login: unlimited}
	var err error
	if l.address, err = ratelimit.ByIP(&ratelimit.IPOptions{TrustedProxies: s.TrustedProxies}); err != nil {
		return nil, err
	}
	var shown []ratelimit.Rule
	var all []ratelimit.Limiter
	if s.RateLogin.Limit != ratelimit.Unlimited {
		guard, err := newGuard(cfg)
		if err != nil {
			return nil, err
		}
		l.login, all = guard.Wrap, guard.Limiters()
		shown = append(shown, ratelimit.Rule{Limiter: all[0], Key: l.address}) // only a login request names an account
	}
	till, token, user := l.byTill(), l.byToken(), ratelimit.By("user", userName, l.address)
	for _, route := range []struct {
		to    *middleware
		rules []limitRule
	}{
		{&l.reads, []limitRule{{s.RateAPI, token, isPage}, {s.RatePage, till, func(r *http.Request) bool { return !isPage(r) || neverRefused(r) }}}},
		{&l.cancels, []limitRule{{cancels, user, func(r *http.Request) bool { return !isPage(r) }}}},
		{&l.sale, []limitRule{{s.RateSale, till, nil}}},
		{&l.topUp, []limitRule{{s.RateTopUp, till, nil}}},
	} {
		rules, err := newRules(cfg, route.rules)
		if err != nil {
			return nil, err
		}
		if *route.to, err = wrap(cfg, rules); err != nil {
			return nil, err
		}
		shown = append(shown, rules...)
		for _, r := range rules {
			all = append(all, r.Limiter)
		}
	}
	l.status = ratelimit.LimitsHandler(shown...)
	if l.all, err = operate.Limiters(all...); err != nil {
		return nil, err
	}
	l.downloads, err = newDownloads(cfg, till)
	return l, err
}

// byTill counts requests of the shop's pages by browser, and all others by user or address.
func (l *limits) byTill() ratelimit.KeyFunc {
	return ratelimit.By("till", func(r *http.Request) string {
		if c := callerOf(r); c != nil && c.cookie {
			return hashed(c.device)
		}
		return ""
	}, ratelimit.By("user", userName, l.address))
}

// byToken counts requests by their token. A request without one has no limit here, except in the
// list of limits, because signedIn refuses it first.
func (l *limits) byToken() ratelimit.KeyFunc {
	return ratelimit.By("token", func(r *http.Request) string {
		if c := callerOf(r); c != nil {
			return hashed(c.token)
		}
		return ""
	}, l.address)
}

// limitRule is a policy of the settings with its key. skip may be nil.
type limitRule struct {
	policy ratelimit.Policy
	key    ratelimit.KeyFunc
	skip   func(*http.Request) bool
}

// newRules returns the rules of the policies that are on.
func newRules(cfg Config, list []limitRule) (rules []ratelimit.Rule, err error) {
	for _, r := range list {
		if r.policy.Limit == ratelimit.Unlimited {
			continue
		}
		limiter, err := cfg.Limiter(r.policy)
		if err != nil {
			return nil, err
		}
		rules = append(rules, ratelimit.Rule{Limiter: limiter, Key: r.key, Skip: r.skip})
	}
	return rules, nil
}

func wrap(cfg Config, rules []ratelimit.Rule) (middleware, error) {
	if len(rules) == 0 {
		return unlimited, nil
	}
	m, err := ratelimit.NewMiddleware(rules, &ratelimit.MiddlewareOptions{Logger: cfg.Logger})
	if err != nil {
		return nil, err
	}
	return m.Wrap, nil
}

func newGuard(cfg Config) (*loginguard.Guard, error) {
	key := hmac.New(sha256.New, cfg.CursorSecret)
	key.Write([]byte("devices that have logged in"))
	return loginguard.New(key.Sum(nil), &loginguard.Options{
		Limiter: cfg.Limiter, Address: cfg.Settings.RateLogin, Insecure: true, Logger: cfg.Logger,
		Fold:     func(name string) string { return name },     // users are compared by their bytes
		Everyone: ratelimit.Policy{Limit: ratelimit.Unlimited}, // a shop has few accounts, each with its own limit, and no challenge
		IP:       &ratelimit.IPOptions{TrustedProxies: cfg.Settings.TrustedProxies, Logger: cfg.Logger},
	})
}

func newDownloads(cfg Config, key ratelimit.KeyFunc) (middleware, error) {
	slots, err := cfg.Concurrency(downloads)
	if err != nil {
		return nil, err
	}
	m, err := concurrency.NewMiddleware(slots, key, &concurrency.MiddlewareOptions{
		Logger: cfg.Logger,
		Skip:   func(r *http.Request) bool { return !isDownload(r) },
	})
	if err != nil {
		return nil, err
	}
	return m.Wrap, nil
}

// isPage reports whether a request comes from one of the shop's own pages.
func isPage(r *http.Request) bool {
	c := callerOf(r)
	return c != nil && c.cookie
}

// neverRefused reports whether selling depends on a request: the user of the session, and the
// outcome or the end of a key. Each such request costs one row. The end of a key has a limit of its
// own.
func neverRefused(r *http.Request) bool {
	switch r.URL.Path {
	case "/api/v1/me/", "/api/v1/keys/cancel/":
		return true
	case "/api/v1/sales/", "/api/v1/topups/":
		return r.URL.Query().Get("key") != ""
	default:
		return false
	}
}

func userName(r *http.Request) string {
	if c := callerOf(r); c != nil {
		return c.user.Name
	}
	return ""
}

// hashed returns a hash, so that the limiter's keys contain no tokens.
func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}
