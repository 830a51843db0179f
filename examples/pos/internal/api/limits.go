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
	login, reads, sale, topUp, downloads middleware
	status                               http.Handler
	address                              ratelimit.KeyFunc
	all                                  []operate.Limiter
}

// A download of all sales uses a database connection until the client has read it all. The
// limit keeps connections free when one user starts many downloads.
var downloads = concurrency.Policy{Name: "downloads", Limit: 4, RetryAfter: 5 * time.Second}

// Limiters returns the limiters of a server with these settings, for the command of an operator.
func Limiters(cfg Config) ([]operate.Limiter, error) {
	l, err := newLimits(cfg)
	if err != nil {
		return nil, err
	}
	return l.all, nil
}

func newLimits(cfg Config) (l *limits, err error) {
	s := cfg.Settings
	l = &limits{login: unlimited}
	if l.address, err = ratelimit.ByIP(&ratelimit.IPOptions{TrustedProxies: s.TrustedProxies}); err != nil {
		return nil, err
	}
	till := ratelimit.By("till", func(r *http.Request) string {
		if c := callerOf(r); c != nil && c.cookie {
			return hashed(c.device)
		}
		return ""
	}, ratelimit.By("user", userName, l.address))
	token := ratelimit.By("token", func(r *http.Request) string {
		if c := callerOf(r); c != nil {
			return hashed(c.token)
		}
		return ""
	}, l.address)
	options := &ratelimit.MiddlewareOptions{Logger: cfg.Logger}
	var shown []ratelimit.Rule
	var all []ratelimit.Limiter
	wrap := func(rules ...ratelimit.Rule) (middleware, error) {
		var on []ratelimit.Rule
		for _, r := range rules {
			if r.Limiter != nil {
				on = append(on, r)
			}
		}
		if len(on) == 0 {
			return unlimited, nil
		}
		shown = append(shown, on...)
		m, err := ratelimit.NewMiddleware(on, options)
		if err != nil {
			return nil, err
		}
		return m.Wrap, nil
	}
	rule := func(p ratelimit.Policy, key ratelimit.KeyFunc, skip func(*http.Request) bool) (r ratelimit.Rule) {
		if p.Limit == ratelimit.Unlimited || err != nil {
			return r
		}
		r = ratelimit.Rule{Key: key, Skip: skip}
		if r.Limiter, err = cfg.Limiter(p); err == nil {
			all = append(all, r.Limiter)
		}
		return r
	}
	if s.RateLogin.Limit != ratelimit.Unlimited {
		key := hmac.New(sha256.New, cfg.CursorSecret)
		key.Write([]byte("devices that have logged in"))
		guard, err := loginguard.New(key.Sum(nil), &loginguard.Options{
			Limiter: cfg.Limiter, Address: s.RateLogin, Insecure: true, Logger: cfg.Logger,
			Fold: func(name string) string { return name }, // users are compared by their bytes
			IP:   &ratelimit.IPOptions{TrustedProxies: s.TrustedProxies, Logger: cfg.Logger},
		})
		if err != nil {
			return nil, err
		}
		l.login = guard.Wrap
		all = append(all, guard.Limiters()...)
		shown = append(shown, ratelimit.Rule{Limiter: guard.Limiters()[0], Key: l.address}) // only a login request names an account
	}
	api := rule(s.RateAPI, token, isPage)
	page := rule(s.RatePage, till, func(r *http.Request) bool { return !isPage(r) || neverRefused(r) })
	sale, topUp := rule(s.RateSale, till, nil), rule(s.RateTopUp, till, nil)
	if err != nil {
		return nil, err
	}
	for _, one := range []struct {
		to    *middleware
		rules []ratelimit.Rule
	}{{&l.reads, []ratelimit.Rule{api, page}}, {&l.sale, []ratelimit.Rule{sale}}, {&l.topUp, []ratelimit.Rule{topUp}}} {
		if *one.to, err = wrap(one.rules...); err != nil {
			return nil, err
		}
	}
	l.status = ratelimit.LimitsHandler(shown...)
	if l.all, err = operate.Limiters(all...); err != nil {
		return nil, err
	}
	slots, err := cfg.Concurrency(downloads)
	if err != nil {
		return nil, err
	}
	m, err := concurrency.NewMiddleware(slots, till, &concurrency.MiddlewareOptions{
		Logger: cfg.Logger,
		Skip:   func(r *http.Request) bool { return !isDownload(r) },
	})
	if err != nil {
		return nil, err
	}
	l.downloads = m.Wrap
	return l, nil
}

// isPage reports whether a request comes from one of the shop's own pages.
func isPage(r *http.Request) bool {
	c := callerOf(r)
	return c != nil && c.cookie
}

// neverRefused reports whether selling depends on a read: the user of the session, and the
// outcome of a sale or top-up by its key. Each such read costs one row.
func neverRefused(r *http.Request) bool {
	return r.URL.Path == "/api/v1/me/" || r.URL.Query().Has("key")
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
