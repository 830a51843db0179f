package ratelimit

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Rule applies one limiter to requests.
type Rule struct {
	// Limiter decides. Required.
	Limiter Limiter
	// Key returns the key of the caller. Required.
	Key KeyFunc
	// Cost returns the units that a request needs. The handler can correct it with
	// [Admission.Charge], also a cost of 0. A cost of 0 lets the request through, even if the
	// key is used up or in debt: let it be 1 where earlier charges must be able to refuse
	// the request. Default: 1.
	Cost func(*http.Request) int
	// Skip leaves requests out for which it returns true. Default: nil.
	Skip func(*http.Request) bool
	// FailuresOnly gives the units back when the handler calls [Admission.Succeed]. Until
	// then they count, so parallel requests cannot outrun the limit. Default: false; every
	// request counts.
	FailuresOnly bool
	// SuccessStatus gives the units of this rule back for a response whose status it accepts,
	// unless the handler has stated the outcome. Other rules and outer middlewares still need
	// Succeed. Set it only where the status alone separates a success from a failure, and
	// where the handler itself writes the status. Default: nil; the handler calls Succeed.
	SuccessStatus func(status int) bool
	// Delay is the longest that a request is delayed before it is denied. Delayed requests
	// of a key are served in the order of their arrival, at the rate of the policy.
	// Default: 0; a request that does not fit now is denied.
	Delay time.Duration
}

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
	// key under this secret of at least 16 bytes. Default: nil; no pk.
	PartitionSecret []byte
	// Denied writes the answer to a denied request instead of the default one. The
	// header fields are set already. Default: nil.
	Denied func(w http.ResponseWriter, r *http.Request, d *Decision)
	// Failed writes the response to a request that could not be decided, instead of the
	// default one: status is 503 while a back-end is not available, and 500 for a mistake,
	// which is logged. Retry-After is set already. Default: nil.
	Failed func(w http.ResponseWriter, r *http.Request, status int)
	// Logger receives mistakes that only the operator can fix. Default: slog.Default().
	Logger *slog.Logger
}

// Middleware applies rules to every request. A request passes all rules, or it uses no units.
type Middleware struct {
	rules  []Rule
	memory *Memory // the limiter of the only rule, if that counts all requests in memory
	opts   MiddlewareOptions
	fields headerWriter
}

// NewMiddleware returns a middleware. With several rules a request needs the permission of
// all, and a denied request uses no units. Without rules every request goes on. The policies
// of the rules need different names. opts may be nil.
func NewMiddleware(rules []Rule, opts *MiddlewareOptions) (*Middleware, error) {
	m := &Middleware{rules: append([]Rule(nil), rules...)}
	if opts != nil {
		m.opts = *opts
	}
	m.fields.deltaReset = m.opts.DeltaReset
	m.fields.pkSecret = m.opts.PartitionSecret
	m.opts.Logger = cmp.Or(m.opts.Logger, slog.Default())
	if err := validRules("ratelimit", rules); err != nil {
		return nil, err
	}
	if m.opts.PartitionSecret != nil && len(m.opts.PartitionSecret) < leastSecret {
		return nil, fmt.Errorf("ratelimit: a PartitionSecret of %d bytes shows the callers' keys; use at least %d random ones, or leave it nil", len(m.opts.PartitionSecret), leastSecret)
	}
	if len(rules) == 1 && !rules[0].FailuresOnly && rules[0].Delay == 0 {
		m.memory, _ = rules[0].Limiter.(*Memory)
	}
	return m, nil
}

// validRules returns the first mistake in the rules of a middleware or interceptor of package
// pkg.
func validRules(pkg string, rules []Rule) error {
	names := make(map[string]int)
	for i, r := range rules {
		switch {
		case r.Limiter == nil || r.Key == nil:
			return fmt.Errorf("%s: rule %d needs a Limiter and a Key", pkg, i)
		case r.SuccessStatus != nil && !r.FailuresOnly:
			return fmt.Errorf("%s: rule %d has a SuccessStatus, which needs FailuresOnly", pkg, i)
		case r.Delay < 0 || r.Delay > 0 && r.FailuresOnly:
			return fmt.Errorf("%s: rule %d: Delay must not be negative, and does not go with FailuresOnly", pkg, i)
		}
		name := r.Limiter.Policy().Name
		if first, ok := names[name]; ok {
			return fmt.Errorf("%s: rules %d and %d both have a policy %q; give one another Name, which tells them apart in the headers and in Redis", pkg, first, i, name)
		}
		names[name] = i
	}
	return nil
}

// Wrap is the middleware. It sets the response fields before next runs. The context of the
// request that next gets carries the [Admission].
func (m *Middleware) Wrap(next http.Handler) http.Handler {
	if len(m.rules) == 0 {
		return next
	}
	if m.memory != nil {
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

// oneAdmission is the admission of one rule in memory, all of it in one allocation.
type oneAdmission struct {
	Admission
	context     admissionContext
	reservation Reservation
	check       [1]Check
	result      [1]Result
	list        [1]*Reservation
}

// serveOne is serveAll for one rule in memory that counts all requests.
func (m *Middleware) serveOne(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rule := &m.rules[0]
	if rule.Skip != nil && rule.Skip(r) {
		m.serve(w, r, next, nil, nil, []string{m.memory.policy.Name})
		return
	}
	cost := rule.cost(r)
	if cost == 0 {
		m.serve(w, r, next, nil, []Check{{Limiter: m.memory, Key: rule.Key(r)}}, nil)
		return
	}
	ctx := r.Context()
	key := rule.Key(r)
	var result Result
	now, t, err := m.memory.take(ctx, key, cost, &result)
	if now = m.memory.wall.at(now - 1); err != nil || !result.Allowed {
		d := &Decision{Results: []Result{result}, checks: []Check{{Limiter: m.memory, Key: key, Cost: cost}}}
		m.refuse(w, r, d, now, err)
		return
	}
	a := &oneAdmission{}
	a.check[0] = Check{Limiter: m.memory, Key: key, Cost: cost}
	a.result[0] = result
	a.Admission.ctx, a.outer, a.logger = ctx, AdmissionFrom(ctx), m.opts.Logger
	a.reservation = Reservation{result: result}
	if !result.Shadowed && result.Limit != Unlimited {
		a.reservation.backend, a.reservation.memory = (*memoryBackend)(m.memory), m.memory
		a.reservation.key, a.reservation.booked = key, t
	}
	a.list[0] = &a.reservation
	a.decision = Decision{Allowed: true, Results: a.result[:], checks: a.check[:], reservations: a.list[:]}
	if !m.opts.NoHeaders {
		m.fields.write(w.Header(), &a.decision, false, now)
	}
	if a.outer != nil {
		a.noteTwice()
	}
	a.context = admissionContext{ctx, &a.Admission}
	next.ServeHTTP(w, r.WithContext(&a.context))
}

func (m *Middleware) serveAll(w http.ResponseWriter, r *http.Request, next http.Handler) {
	checks := make([]Check, 0, len(m.rules))
	var free []Check
	var skipped []string
	for i := range m.rules {
		rule := &m.rules[i]
		if rule.Skip != nil && rule.Skip(r) {
			skipped = append(skipped, rule.Limiter.Policy().Name)
			continue
		}
		c := Check{Limiter: rule.Limiter, Cost: rule.cost(r), Within: rule.Delay, FailuresOnly: rule.FailuresOnly, success: rule.SuccessStatus}
		if c.Cost != 0 {
			c.Key = rule.Key(r)
			checks = append(checks, c)
		} else if !c.FailuresOnly {
			c.Key = rule.Key(r)
			free = append(free, c)
		}
	}
	m.serve(w, r, next, checks, free, skipped)
}

// serve decides checks and passes the request on.
func (m *Middleware) serve(w http.ResponseWriter, r *http.Request, next http.Handler, checks, free []Check, skipped []string) {
	a, err := admitRules(r.Context(), m.opts.Logger, checks, free, skipped)
	now := time.Now().UnixNano()
	if err != nil || !a.decision.Allowed {
		m.refuse(w, r, &a.decision, now, err)
		return
	}
	defer a.End()
	if !m.opts.NoHeaders {
		m.fields.write(w.Header(), &a.decision, false, now)
	}
	r = r.WithContext(a.Context(r.Context()))
	if !slices.ContainsFunc(checks, func(c Check) bool { return c.success != nil }) {
		next.ServeHTTP(w, r)
		return
	}
	sw := &statusWriter{ResponseWriter: w}
	next.ServeHTTP(sw, r) // a panic passes through, and its units stay counted
	if sw.status != 0 && !sw.hijacked {
		a.judge(sw.status)
	}
}

// refuse answers a request that does not go on.
func (m *Middleware) refuse(w http.ResponseWriter, r *http.Request, d *Decision, now int64, err error) {
	switch d.Status(err) {
	case http.StatusTooManyRequests:
		if m.opts.NoHeaders {
			if s := retrySeconds(d.Results[binding(d.Results)]); s > 0 {
				w.Header()[hRetryAfter] = []string{strconv.FormatInt(s, 10)}
			}
		} else {
			m.fields.write(w.Header(), d, true, now)
		}
		if m.opts.Denied != nil {
			m.opts.Denied(w, r, d)
			return
		}
		contentType := jsonType
		if m.opts.ProblemJSON {
			contentType = problemType
		}
		body := bodies.Get().(*[]byte)
		*body = appendDenied((*body)[:0], d.Results, now, m.opts.ProblemJSON)
		respond(w, r, http.StatusTooManyRequests, contentType, *body)
		bodies.Put(body)
	case http.StatusServiceUnavailable:
		retry := retrySeconds(d.Results[binding(d.Results)])
		if retry > 0 {
			w.Header()[hRetryAfter] = []string{strconv.FormatInt(retry, 10)}
		}
		m.fail(w, r, http.StatusServiceUnavailable, retry)
	default:
		noteMistake(r.Context(), m.opts.Logger, d, err)
		m.fail(w, r, http.StatusInternalServerError, 0)
	}
}

func (m *Middleware) fail(w http.ResponseWriter, r *http.Request, status int, retry int64) {
	if m.opts.Failed != nil {
		m.opts.Failed(w, r, status)
		return
	}
	contentType := jsonType
	if m.opts.ProblemJSON {
		contentType = problemType
	}
	respond(w, r, status, contentType, failureBody(status, retry, m.opts.ProblemJSON))
}

// statusWriter remembers the status that the handler has written, or 0.
type statusWriter struct {
	http.ResponseWriter
	status   int
	hijacked bool
}

// WriteHeader remembers the final status; informational ones precede it.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write remembers the status 200 that goes with it.
func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// ReadFrom keeps the sendfile of net/http.
func (w *statusWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return io.Copy(w.ResponseWriter, r)
}

// Unwrap serves http.ResponseController. The other methods serve handlers that use
// http.Flusher, http.Hijacker and http.Pusher.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// FlushError flushes, or returns http.ErrNotSupported.
func (w *statusWriter) FlushError() error {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (w *statusWriter) Flush() {
	_ = w.FlushError() // http.Flusher has no way to report it
}

// Hijack implements http.Hijacker, or returns http.ErrNotSupported.
func (w *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.hijacked = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Push implements http.Pusher, or returns http.ErrNotSupported.
func (w *statusWriter) Push(target string, opts *http.PushOptions) error {
	if p, ok := w.ResponseWriter.(http.Pusher); ok {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}

// Status returns the HTTP status of the response to a decision that [Decide] or [Admit] returned
// with err: 200, 429 for a denial, 503 while the back-end is away or after the client has
// left, and 500 for a mistake of the service.
func (d *Decision) Status(err error) int {
	switch {
	case err == nil && d.Allowed:
		return http.StatusOK
	case err == nil, errors.Is(err, ErrCostExceedsLimit), errors.Is(err, ErrQueueFull):
		return http.StatusTooManyRequests
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

var (
	jsonType    = []string{"application/json"}
	problemType = []string{"application/problem+json"}
	noStore     = []string{"no-store"}
)

// respond writes a whole answer. The fields of headerWriter are set already.
func respond(w http.ResponseWriter, r *http.Request, status int, contentType []string, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentType
	h["Cache-Control"] = noStore // RFC 6585: a cache must not store a 429
	delete(h, "Content-Length")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// bodies are buffers for appendDenied: an attack should cost little.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// appendDenied appends the JSON of a 429. Every value is a number or a token.
func appendDenied(buf []byte, results []Result, now int64, problem bool) []byte {
	b := &results[binding(results)]
	if problem {
		buf = append(buf, `{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Request cannot be satisfied as assigned quota has been exceeded","status":429,"violated-policies":[`...)
		first := true
		for i := range results {
			r := &results[i]
			if r.Allowed || r.Policy == "" {
				continue
			}
			if !first {
				buf = append(buf, ',')
			}
			first = false
			buf = append(buf, '"')
			buf = append(buf, r.Policy...)
			buf = append(buf, '"')
		}
		buf = append(buf, `],"detail":"`...)
	} else {
		buf = append(buf, `{"error":"rate_limited","message":"`...)
	}
	retry := retrySeconds(*b)
	if retry > 0 {
		buf = append(buf, "Too many requests. Try again in "...)
		buf = strconv.AppendInt(buf, retry, 10)
		buf = append(buf, ` s.","policy":"`...)
	} else {
		buf = append(buf, `The limit does not allow this request, now or later.","policy":"`...)
	}
	buf = append(buf, b.Policy...)
	buf = append(buf, `","limit":`...)
	buf = strconv.AppendInt(buf, int64(b.Limit), 10)
	buf = append(buf, `,"remaining":`...)
	buf = strconv.AppendInt(buf, int64(b.Remaining), 10)
	if retry > 0 {
		buf = append(buf, `,"retry_after":`...)
		buf = strconv.AppendInt(buf, retry, 10)
	}
	buf = append(buf, `,"reset":`...)
	buf = strconv.AppendInt(buf, resetUnix(now, b), 10)
	return append(buf, '}', '\n')
}

// failureBody is the JSON of a 503 or 500. It hides the cause.
func failureBody(status int, retry int64, problem bool) []byte {
	buf := make([]byte, 0, 160)
	if problem {
		buf = append(buf, `{"type":"about:blank","title":"`...)
		buf = append(buf, http.StatusText(status)...)
		buf = append(buf, `","status":`...)
		buf = strconv.AppendInt(buf, int64(status), 10)
	} else {
		buf = append(buf, `{"error":"`...)
		if status == http.StatusServiceUnavailable {
			buf = append(buf, `unavailable","message":"The service cannot answer right now.`...)
		} else {
			buf = append(buf, `internal","message":"The service could not answer.`...)
		}
		buf = append(buf, '"')
	}
	if retry > 0 {
		buf = append(buf, `,"retry_after":`...)
		buf = strconv.AppendInt(buf, retry, 10)
	}
	return append(buf, '}', '\n')
}
