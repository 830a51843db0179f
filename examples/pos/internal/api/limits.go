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
)

type middleware func(http.Handler) http.Handler

// unlimited stands in for a policy that is off.
func unlimited(next http.Handler) http.Handler { return next }

// limits are the policies, each in front of its routes. The shop's own pages are counted
// by till, programs by token, and reading apart from selling: a till that has looked at
// many cards still sells.
type limits struct {
	login, reads, sale, topUp, downloads middleware
	status                               http.Handler
	address                              ratelimit.KeyFunc
}

// A download of all sales keeps a connection to the database for as long as its client
// takes to read it, so the downloads of one user must not take all connections.
var downloads = concurrency.Policy{Name: "downloads", Limit: 4, RetryAfter: 5 * time.Second}

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
		r.Limiter, err = cfg.Limiter(p)
		return r
	}
	if s.RateLogin.Limit != ratelimit.Unlimited {
		key := hmac.New(sha256.New, cfg.CursorSecret)
		key.Write([]byte("devices that have logged in"))
		guard, err := loginguard.New(key.Sum(nil), &loginguard.Options{
			Limiter: cfg.Limiter, Address: s.RateLogin, Insecure: true, Logger: cfg.Logger,
			IP: &ratelimit.IPOptions{TrustedProxies: s.TrustedProxies, Logger: cfg.Logger},
		})
		if err != nil {
			return nil, err
		}
		l.login = guard.Wrap
		shown = append(shown, ratelimit.Rule{Limiter: guard.Limiters()[0], Key: l.address}) // an account is named by a try only
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

// isPage reports whether one of the shop's own pages sends a request.
func isPage(r *http.Request) bool {
	c := callerOf(r)
	return c != nil && c.cookie
}

// neverRefused reports reads that selling depends on: the user of the session, and the
// outcome of a sale or top-up by its key. Each reads one row.
func neverRefused(r *http.Request) bool {
	return r.URL.Path == "/api/v1/me/" || r.URL.Query().Has("key")
}

func userName(r *http.Request) string {
	if c := callerOf(r); c != nil {
		return c.user.Name
	}
	return ""
}

// hashed keeps tokens out of the limiter's keys.
func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}
