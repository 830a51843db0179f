// Package echolimit limits the requests of an echo server with package ratelimit.
//
//	limit, err := echolimit.New([]echolimit.Rule{{Limiter: login, Key: byRealIP, FailuresOnly: true}})
//	e.POST("/login", func(c echo.Context) error {
//		if passwordIsRight(c) {
//			ratelimit.AdmissionFrom(c.Request().Context()).Succeed()
//			return c.NoContent(http.StatusNoContent)
//		}
//		return echo.NewHTTPError(http.StatusUnauthorized, "wrong password")
//	}, limit)
//
// A denial is an error with status 429 for echo's error handler. If the back-end is not
// available, the status is 503.
package echolimit

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/driver"
)

// Rule applies one limiter to requests. It is [ratelimit.Rule] with echo's context.
type Rule struct {
	// Limiter decides. Required.
	Limiter ratelimit.Limiter
	// Key returns the key of the caller, never "". Required.
	Key func(echo.Context) string
	// Cost returns the units that a request needs. 0 allows it without counting. Default:
	// 1.
	Cost func(echo.Context) int
	// FailuresOnly gives the units back when the handler calls Succeed. Default: false.
	FailuresOnly bool
	// Delay is the maximum delay of a request before it is denied. Default: 0.
	Delay time.Duration
}

// New returns a middleware. If there are several rules, all must allow a request.
func New(rules []Rule) (echo.MiddlewareFunc, error) {
	plain := make([]driver.Rule[echo.Context], len(rules))
	for i, r := range rules {
		plain[i] = driver.Rule[echo.Context]{Limiter: r.Limiter, FailuresOnly: r.FailuresOnly, Delay: r.Delay}
		if r.Key != nil {
			plain[i].Key = func(_ context.Context, c echo.Context) string { return r.Key(c) }
		}
		if r.Cost != nil {
			plain[i].Cost = func(_ context.Context, c echo.Context) int { return r.Cost(c) }
		}
	}
	checked, err := driver.NewRules("echolimit", plain)
	if err != nil {
		return nil, err
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			a, err := checked.Admit(r.Context(), c)
			d := a.Decision()
			if err == nil || d.Binding().RetryAfter != 0 {
				d.WriteHeaders(c.Response().Header())
			}
			if err != nil || !d.Allowed {
				return refusal(d, err)
			}
			defer a.End() // also after a panic
			c.SetRequest(r.WithContext(a.Context(r.Context())))
			return next(c)
		}
	}, nil
}

func refusal(d *ratelimit.Decision, err error) error {
	switch status := d.Status(err); status {
	case http.StatusTooManyRequests:
		return echo.NewHTTPError(status, map[string]any{
			"error": "rate_limited", "message": "Too many requests.", "policy": d.Binding().Policy,
		}).SetInternal(err)
	case http.StatusServiceUnavailable:
		return echo.NewHTTPError(status, "The service cannot answer right now.").SetInternal(err)
	default:
		return echo.NewHTTPError(status, "The service could not answer.").SetInternal(err)
	}
}
