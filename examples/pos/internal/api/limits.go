package api

import (
	"net/http"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
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
var downloads = ratelimit.ConcurrencyPolicy{Name: "downloads", Limit: 4, RetryAfter: 5 * time.Second}

func newLimits(cfg Config) (*limits, error) {
	s := cfg.Settings
	address, err := ratelimit.ByIP(&ratelimit.IPOptions{TrustedProxies: s.TrustedProxies})
	if err != nil {
		return nil, err
	}
	user := ratelimit.ByUser(func(r *http.Request) string {
		if c := callerOf(r); c != nil {
			return c.user.Name
		}
		return ""
	}, address)
	pair, account := s.RateLogin, s.RateLogin
	pair.Name += "-pair"
	account.Name += "-account"
	login, err := ratelimit.LoginRules(cfg.Limiter, address, ratelimit.JSONField("username"), &ratelimit.LoginOptions{
		Address: s.RateLogin, Pair: pair, Account: account,
		// Only a wrong password is a guess.
		Failed: func(status int) bool { return status == http.StatusUnauthorized },
	})
	if err != nil {
		return nil, err
	}
	l := &limits{}
	options := &ratelimit.MiddlewareOptions{Logger: cfg.Logger}
	var shown []ratelimit.Rule
	l.login = unlimited
	if len(login) > 0 { // none are left when the limit is off
		m, err := ratelimit.NewMiddleware(login, options)
		if err != nil {
			return nil, err
		}
		l.login = m.Wrap
		shown = append(shown, login[0]) // by address: an account is named by a try only
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
	m, err := ratelimit.NewConcurrencyMiddleware(slots, user, &ratelimit.ConcurrencyMiddlewareOptions{
		Logger: cfg.Logger,
		Skip:   func(r *http.Request) bool { return !isDownload(r) },
	})
	if err != nil {
		return nil, err
	}
	l.downloads = m.Wrap
	return l, nil
}
