package ratelimit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Rule applies one limiter to requests.
type Rule struct {
	// Limiter decides. Required.
	Limiter Limiter
	// Key names the caller. Required.
	Key KeyFunc
	// Cost is the units a request needs; 0 lets it through uncounted. Default: 1.
	Cost func(*http.Request) int
	// Skip leaves requests out for which it returns true. Default: none.
	Skip func(*http.Request) bool
	// Refund gives the units back after an answer for whose status it returns true;
	// until then they count, so parallel requests cannot outrun it. Set it to
	// Succeeded to count failures only. Default: nothing is given back.
	Refund func(status int) bool
}

// Succeeded reports a status below 400: as a Rule's Refund it leaves failures counted.
func Succeeded(status int) bool { return status < 400 }

// MiddlewareOptions configure NewMiddleware.
type MiddlewareOptions struct {
	// ProblemJSON answers with application/problem+json (RFC 9457) instead of
	// {"error":"rate_limited", …}. Default: false.
	ProblemJSON bool
	// DeltaReset gives X-RateLimit-Reset in seconds from now. Default: false; Unix time.
	DeltaReset bool
	// NoHeaders leaves out all fields but Retry-After. Default: false.
	NoHeaders bool
	// PartitionSecret adds the parameter pk to RateLimit: a keyed hash of the caller's
	// key under this secret. Default: none; no pk.
	PartitionSecret []byte
	// Denied writes the answer to a denied request instead of the default one. The
	// header fields are set already. Default: nil.
	Denied func(w http.ResponseWriter, r *http.Request, d *Decision)
	// Logger is told of mistakes that only the operator can mend. Default: slog.Default().
	Logger *slog.Logger
}

// Middleware applies rules, all or nothing, to every request.
type Middleware struct {
	rules  []Rule
	memory *Memory // the limiter of the only rule, if it is one
	opts   MiddlewareOptions
	fields headerWriter
}

// NewMiddleware returns a middleware. With several rules a request goes on only if all
// allow, and otherwise uses none of them; with none, such as those of a login whose
// limits are all switched off, every request does. Their policies need different names.
// opts may be nil.
func NewMiddleware(rules []Rule, opts *MiddlewareOptions) (*Middleware, error) {
	m := &Middleware{rules: append([]Rule(nil), rules...)}
	if opts != nil {
		m.opts = *opts
	}
	m.fields.deltaReset = m.opts.DeltaReset
	m.fields.pkSecret = m.opts.PartitionSecret
	if m.opts.Logger == nil {
		m.opts.Logger = slog.Default()
	}
	names := make(map[string]int)
	for i, r := range rules {
		if r.Limiter == nil || r.Key == nil {
			return nil, fmt.Errorf("ratelimit: rule %d needs a Limiter and a Key", i)
		}
		if l, ok := r.Limiter.(interface{ Policy() Policy }); ok {
			name := l.Policy().Name
			if first, ok := names[name]; ok {
				return nil, fmt.Errorf("ratelimit: rules %d and %d both have a policy %q; give one another Name, which tells them apart in the headers and in Redis", first, i, name)
			}
			names[name] = i
		}
	}
	if len(rules) == 1 {
		m.memory, _ = rules[0].Limiter.(*Memory)
	}
	return m, nil
}

// Wrap is the middleware. Response fields are set before next runs; a Refund shows
// only in the next answer.
func (m *Middleware) Wrap(next http.Handler) http.Handler {
	if len(m.rules) == 0 {
		return next
	}
	if len(m.rules) == 1 && m.rules[0].Refund == nil {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serveOne(w, r, next) })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serveAll(w, r, next) })
}

func (rule *Rule) cost(r *http.Request) int {
	if rule.Cost == nil {
		return 1
	}
	return rule.Cost(r)
}

func (m *Middleware) serveOne(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rule := &m.rules[0]
	if rule.Skip != nil && rule.Skip(r) {
		next.ServeHTTP(w, r)
		return
	}
	cost := rule.cost(r)
	if cost == 0 {
		next.ServeHTTP(w, r)
		return
	}
	key := [1]string{rule.Key(r)}
	var results [1]Result
	now, err := m.ask(r.Context(), rule.Limiter, key[0], cost, &results[0])
	if err == nil && results[0].Allowed {
		if !m.opts.NoHeaders {
			m.fields.write(w.Header(), results[:], key[:], false, now)
		}
		next.ServeHTTP(w, r)
		return
	}
	m.refuse(w, r, results[:], key[:], now, err)
}

// ask decides, and says when, in Unix nanoseconds. A decision in memory has looked at
// a clock already.
func (m *Middleware) ask(ctx context.Context, l Limiter, key string, cost int, r *Result) (now int64, err error) {
	if m.memory == nil {
		*r, err = l.AllowN(ctx, key, cost)
		return time.Now().UnixNano(), err
	}
	if now, _, err = m.memory.take(ctx, key, cost, r); now == 0 {
		now = m.memory.now()
	}
	return m.memory.wall.at(now - 1), err
}

func (m *Middleware) serveAll(w http.ResponseWriter, r *http.Request, next http.Handler) {
	checks := make([]Check, 0, len(m.rules))
	keys := make([]string, 0, len(m.rules))
	refunds := make([]func(int) bool, 0, len(m.rules))
	refundable := false
	for i := range m.rules {
		rule := &m.rules[i]
		if rule.Skip != nil && rule.Skip(r) {
			continue
		}
		cost := rule.cost(r)
		if cost == 0 {
			continue
		}
		key := rule.Key(r)
		checks = append(checks, Check{Limiter: rule.Limiter, Key: key, Cost: cost})
		keys = append(keys, key)
		refunds = append(refunds, rule.Refund)
		refundable = refundable || rule.Refund != nil
	}
	d, err := Decide(r.Context(), checks...)
	now := time.Now().UnixNano()
	if err != nil || !d.Allowed {
		m.refuse(w, r, d.Results, keys, now, err)
		return
	}
	if !m.opts.NoHeaders {
		m.fields.write(w.Header(), d.Results, keys, false, now)
	}
	if !refundable {
		next.ServeHTTP(w, r)
		return
	}
	sw := &statusWriter{ResponseWriter: w}
	next.ServeHTTP(sw, r) // a panic passes by, and what it cost stays counted
	for i, refund := range refunds {
		if refund == nil || !refund(sw.code()) {
			continue
		}
		if err := d.reservations[i].Cancel(context.WithoutCancel(r.Context())); err != nil {
			m.opts.Logger.WarnContext(r.Context(), "ratelimit: units could not be given back", "policy", d.Results[i].Policy, "error", err)
		}
	}
}

// refuse answers a request that does not go on.
func (m *Middleware) refuse(w http.ResponseWriter, r *http.Request, results []Result, keys []string, now int64, err error) {
	switch {
	case err == nil || errors.Is(err, ErrCostExceedsLimit):
		if m.opts.NoHeaders {
			if s := retrySeconds(results[binding(results)]); s > 0 {
				w.Header()[hRetryAfter] = []string{strconv.FormatInt(s, 10)}
			}
		} else {
			m.fields.write(w.Header(), results, keys, true, now)
		}
		if m.opts.Denied != nil {
			m.opts.Denied(w, r, &Decision{Results: slices.Clone(results)})
			return
		}
		contentType := jsonType
		if m.opts.ProblemJSON {
			contentType = problemType
		}
		body := bodies.Get().(*[]byte)
		*body = appendDenied((*body)[:0], results, now, m.opts.ProblemJSON)
		respond(w, r, http.StatusTooManyRequests, contentType, *body)
		bodies.Put(body)
	case errors.Is(err, ErrUnavailable) || r.Context().Err() != nil:
		retry := retrySeconds(results[binding(results)])
		if retry > 0 {
			w.Header()[hRetryAfter] = []string{strconv.FormatInt(retry, 10)}
		}
		m.fail(w, r, http.StatusServiceUnavailable, retry)
	default:
		m.opts.Logger.ErrorContext(r.Context(), "ratelimit: a request could not be limited", "error", err)
		m.fail(w, r, http.StatusInternalServerError, 0)
	}
}

func (m *Middleware) fail(w http.ResponseWriter, r *http.Request, status int, retry int64) {
	contentType := jsonType
	if m.opts.ProblemJSON {
		contentType = problemType
	}
	respond(w, r, status, contentType, failureBody(status, retry, m.opts.ProblemJSON))
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// WriteHeader remembers the final status; informational ones precede it.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap serves http.ResponseController, and what follows serves handlers that ask for
// http.Flusher and http.Hijacker themselves.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// FlushError flushes, or returns http.ErrNotSupported.
func (w *statusWriter) FlushError() error {
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (w *statusWriter) Flush() {
	_ = w.FlushError() // http.Flusher has no way to tell
}

// Hijack implements http.Hijacker, or returns http.ErrNotSupported.
func (w *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}
