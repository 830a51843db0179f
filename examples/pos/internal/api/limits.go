package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
)

type middleware func(http.Handler) http.Handler

// unlimited stands in for a policy that is off.
func unlimited(next http.Handler) http.Handler { return next }

// limits are the policies, each in front of its routes.
type limits struct {
	login, api, sale, topUp, downloads middleware
	status                             http.Handler
}

// A download of all sales keeps a connection to the database for as long as its client
// takes to read it, so the downloads of one user must not take all connections.
var downloads = concurrency.Policy{Name: "downloads", Limit: 4, RetryAfter: 5 * time.Second}

func newLimits(cfg Config) (*limits, error) {
	s := cfg.Settings
	address, err := ratelimit.ByIP(&ratelimit.IPOptions{TrustedProxies: s.TrustedProxies})
	if err != nil {
		return nil, err
	}
	user := ratelimit.By("user", func(r *http.Request) string {
		if c := callerOf(r); c != nil {
			return c.user.Name
		}
		return ""
	}, address)
	l := &limits{}
	options := &ratelimit.MiddlewareOptions{Logger: cfg.Logger}
	var shown []ratelimit.Rule
	l.login = unlimited
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
		shown = append(shown, ratelimit.Rule{Limiter: guard.Limiters()[0], Key: address}) // an account is named by a try only
	}
	for _, p := range []struct {
		policy ratelimit.Policy
		to     *middleware
	}{{s.RateAPI, &l.api}, {s.RateSale, &l.sale}, {s.RateTopUp, &l.topUp}} {
		if p.policy.Limit == ratelimit.Unlimited {
			*p.to = unlimited
			continue
		}
		limiter, err := cfg.Limiter(p.policy)
		if err != nil {
			return nil, err
		}
		rule := ratelimit.Rule{Limiter: limiter, Key: user}
		m, err := ratelimit.NewMiddleware([]ratelimit.Rule{rule}, options)
		if err != nil {
			return nil, err
		}
		*p.to = m.Wrap
		shown = append(shown, rule)
	}
	l.status = ratelimit.LimitsHandler(shown...)
	slots, err := cfg.Concurrency(downloads)
	if err != nil {
		return nil, err
	}
	m, err := concurrency.NewMiddleware(slots, user, &concurrency.MiddlewareOptions{
		Logger: cfg.Logger,
		Skip:   func(r *http.Request) bool { return !isDownload(r) },
	})
	if err != nil {
		return nil, err
	}
	l.downloads = m.Wrap
	return l, nil
}
