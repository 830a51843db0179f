// Package ginlimit limits the requests of a gin engine with package ratelimit.
//
//	limit, err := ginlimit.New([]ginlimit.Rule{{Limiter: login, Key: byClientIP, FailuresOnly: true}}, nil)
//	engine.POST("/login", limit, func(c *gin.Context) {
//		if passwordIsRight(c) {
//			ratelimit.AdmissionFrom(c.Request.Context()).Succeed()
//		}
//	})
package ginlimit

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/driver"
)

// Rule applies one limiter to requests. It is [ratelimit.Rule] with gin's context.
type Rule struct {
	// Limiter decides. Required.
	Limiter ratelimit.Limiter
	// Key returns the key of the caller, never "". Required.
	Key func(*gin.Context) string
	// Cost returns the units that a request needs. 0 allows it without counting. Default:
	// 1.
	Cost func(*gin.Context) int
	// FailuresOnly gives the units back when the handler calls Succeed. Default: false.
	FailuresOnly bool
	// Delay is the maximum delay of a request before it is denied. Default: 0.
	Delay time.Duration
}

// Options configure New.
type Options struct {
	// Refused writes the response to a rejected request, after the header fields are set.
	// err is nil for a denial. Otherwise it is ratelimit.ErrUnavailable or a programming
	// error, which is also in gin's Context.Errors. Default: JSON with 429, 503 or 500.
	Refused func(c *gin.Context, d *ratelimit.Decision, err error)
}

// New returns a middleware. If there are several rules, all must allow a request. opts may
// be nil.
func New(rules []Rule, opts *Options) (gin.HandlerFunc, error) {
	plain := make([]driver.Rule[*gin.Context], len(rules))
	for i, r := range rules {
		plain[i] = driver.Rule[*gin.Context]{Limiter: r.Limiter, FailuresOnly: r.FailuresOnly, Delay: r.Delay}
		if r.Key != nil {
			plain[i].Key = func(_ context.Context, c *gin.Context) string { return r.Key(c) }
		}
		if r.Cost != nil {
			plain[i].Cost = func(_ context.Context, c *gin.Context) int { return r.Cost(c) }
		}
	}
	checked, err := driver.NewRules("ginlimit", plain)
	if err != nil {
		return nil, err
	}
	refused := refuse
	if opts != nil && opts.Refused != nil {
		refused = opts.Refused
	}
	return func(c *gin.Context) {
		a, err := checked.Admit(c.Request.Context(), c)
		d := a.Decision()
		if err == nil || d.Binding().RetryAfter != 0 {
			d.WriteHeaders(c.Writer.Header())
		}
		if err != nil || !d.Allowed {
			if err != nil {
				_ = c.Error(err)
			}
			refused(c, d, err)
			c.Abort()
			return
		}
		defer a.End() // also after a panic
		c.Request = c.Request.WithContext(a.Context(c.Request.Context()))
		c.Next()
	}, nil
}

func refuse(c *gin.Context, d *ratelimit.Decision, err error) {
	switch status := d.Status(err); status {
	case http.StatusTooManyRequests:
		c.JSON(status, gin.H{"error": "rate_limited", "message": "Too many requests.", "policy": d.Binding().Policy})
	case http.StatusServiceUnavailable:
		c.JSON(status, gin.H{"error": "unavailable", "message": "The service cannot answer right now."})
	default:
		c.JSON(status, gin.H{"error": "internal", "message": "The service could not answer."})
	}
}

// Wrap turns a net/http middleware, such as a login guard or a concurrency limit, into a
// gin middleware:
//
//	engine.POST("/login", ginlimit.Wrap(guard.Wrap), login)
//
// If the middleware writes the response itself, the handlers after it do not run. While
// they run, gin's context has the request and the response writer that the middleware
// passes on.
func Wrap(middleware func(http.Handler) http.Handler) gin.HandlerFunc {
	wrapped := middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.Context().Value(passageKey{}).(*passage)
		p.passed = true
		p.c.Request = r
		outer := p.c.Writer
		if w == http.ResponseWriter(outer) {
			p.c.Next()
			return
		}
		own := &writer{ResponseWriter: outer, w: w}
		p.c.Writer = own
		defer func() { p.c.Writer = outer }()
		p.c.Next()
		if own.set && len(p.c.Errors) == 0 { // an outer handler may turn an error into a status
			own.begin()
		}
	}))
	return func(c *gin.Context) {
		p := &passage{c: c}
		wrapped.ServeHTTP(c.Writer, c.Request.WithContext(context.WithValue(c.Request.Context(), passageKey{}, p)))
		if !p.passed {
			c.Abort()
		}
	}
}

// passage is the state of one request in a net/http middleware.
type passage struct {
	c      *gin.Context
	passed bool // the middleware called its next handler
}

type passageKey struct{}

// writer is a gin response writer around the one that a net/http middleware passes on. gin
// lets a handler change the status until the response begins. The middleware receives only
// the status that is sent.
type writer struct {
	gin.ResponseWriter
	w          http.ResponseWriter
	set, begun bool
}

// begin passes the final status to the middleware.
func (w *writer) begin() {
	if !w.begun && !w.Written() {
		w.w.WriteHeader(w.Status())
	}
	w.begun = true
}

func (w *writer) Header() http.Header { return w.w.Header() }

func (w *writer) WriteHeader(status int) {
	w.set = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) WriteHeaderNow() {
	w.begin()
	w.ResponseWriter.WriteHeaderNow()
}

func (w *writer) Write(b []byte) (int, error) {
	w.begin()
	return w.w.Write(b)
}

func (w *writer) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

func (w *writer) Flush() {
	w.begin()
	_ = http.NewResponseController(w.w).Flush() // http.Flusher has no way to report it
}

func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.begun = true // the handler writes the response by itself
	return http.NewResponseController(w.w).Hijack()
}

func (w *writer) Unwrap() http.ResponseWriter { return w.w }
