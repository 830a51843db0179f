package concurrency

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// MiddlewareOptions configure NewMiddleware.
type MiddlewareOptions struct {
	// Status answers a refused request: 429 where the key is the client, whose own
	// requests fill it, and 503 where clients share a key and the service is full.
	// Default: 429.
	Status int
	// ProblemJSON answers with application/problem+json (RFC 9457) instead of
	// {"error":"concurrency_limited", …}. Default: false.
	ProblemJSON bool
	// NoHeaders leaves out RateLimit and RateLimit-Policy. Default: false.
	NoHeaders bool
	// Weight returns how many slots a request takes. Default: 1.
	Weight func(*http.Request) int
	// Skip leaves requests out for which it returns true. Default: nil.
	Skip func(*http.Request) bool
	// EndLost ends the context of a request whose slot is lost, with the cause
	// ErrSlotLost: for work that must not run beside others. Slots in memory are never
	// lost. Default: false; a request that was let in is served.
	EndLost bool
	// Denied writes the answer to a refused request instead of the default one. The
	// header fields are set already. Default: nil.
	Denied func(w http.ResponseWriter, r *http.Request, res ratelimit.Result)
	// Logger receives mistakes that only the operator can fix. Default: slog.Default().
	Logger *slog.Logger
}

// Middleware holds a slot for every request while its handler runs.
type Middleware struct {
	limiter Limiter
	key     ratelimit.KeyFunc
	opts    MiddlewareOptions
}

// NewMiddleware returns a middleware that takes a slot of limiter for the
// key that key names. opts may be nil.
func NewMiddleware(limiter Limiter, key ratelimit.KeyFunc, opts *MiddlewareOptions) (*Middleware, error) {
	if limiter == nil || key == nil {
		return nil, errors.New("concurrency: NewMiddleware needs a limiter and a key")
	}
	m := &Middleware{limiter: limiter, key: key}
	if opts != nil {
		m.opts = *opts
	}
	switch m.opts.Status {
	case 0:
		m.opts.Status = http.StatusTooManyRequests
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
	default:
		return nil, fmt.Errorf("concurrency: a refused request is answered with 429 or 503, not %d", m.opts.Status)
	}
	m.opts.Logger = cmp.Or(m.opts.Logger, slog.Default())
	if limiter.Policy().Shadow {
		m.opts.NoHeaders = true
	}
	return m, nil
}

// Wrap is the middleware. The slot is free again when next returns or panics. A client
// that goes away ends the request's context, and the slot is free when next heeds it:
// until then the work is in flight. After a Hijack the connection may outlive the slot.
// next gets the ResponseWriter itself, with all that it can do.
func (m *Middleware) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.opts.Skip != nil && m.opts.Skip(r) {
			next.ServeHTTP(w, r)
			return
		}
		weight := 1
		if m.opts.Weight != nil {
			weight = m.opts.Weight(r)
		}
		slot, err := m.limiter.Acquire(r.Context(), m.key(r), weight)
		if err != nil || !slot.Result().Allowed {
			m.refuse(w, r, slot.Result(), err)
			return
		}
		defer slot.Release() //nolint:errcheck // a lost slot is in the limiter's Stats, and the answer is on its way
		if !m.opts.NoHeaders {
			writeConcurrency(w.Header(), slot.Result())
		}
		if m.opts.EndLost {
			ctx, cancel := slot.Context(r.Context())
			defer cancel()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// writeConcurrency adds the policy to the RateLimit fields, whose units are requests in
// a window unless qu says otherwise. The X-RateLimit fields know no other, and are left
// to the limiters of rates.
func writeConcurrency(h http.Header, r ratelimit.Result) {
	if r.Limit == ratelimit.Unlimited {
		return
	}
	var space [192]byte
	buf := append(space[:0], '"')
	buf = append(buf, r.Policy...)
	buf = append(buf, `";r=`...)
	buf = strconv.AppendInt(buf, int64(r.Remaining), 10)
	cut := len(buf)
	buf = append(buf, '"')
	buf = append(buf, r.Policy...)
	buf = append(buf, `";q=`...)
	buf = strconv.AppendInt(buf, int64(r.Limit), 10)
	buf = append(buf, `;qu="concurrent-requests"`...)
	all := string(buf)
	vals := []string{all[:cut], all[cut:]}
	appendField(h, "Ratelimit", vals[0])
	appendField(h, "Ratelimit-Policy", vals[1])
}

// refuse answers a request that does not go on.
func (m *Middleware) refuse(w http.ResponseWriter, r *http.Request, res ratelimit.Result, err error) {
	status, retry := http.StatusServiceUnavailable, retrySeconds(res)
	switch {
	case err == nil:
		status = m.opts.Status
		if !m.opts.NoHeaders {
			writeConcurrency(w.Header(), res)
		}
	case errors.Is(err, ratelimit.ErrCostExceedsLimit):
		err, status = nil, m.opts.Status
	case errors.Is(err, ratelimit.ErrUnavailable) || r.Context().Err() != nil:
	default:
		m.opts.Logger.ErrorContext(r.Context(), "concurrency: a request could not be limited", "error", err)
		status, retry = http.StatusInternalServerError, 0
	}
	if retry > 0 {
		w.Header()["Retry-After"] = []string{strconv.FormatInt(retry, 10)}
	}
	switch {
	case err == nil && m.opts.Denied != nil:
		m.opts.Denied(w, r, res)
	case status == http.StatusTooManyRequests:
		respond(w, r, status, m.opts.ProblemJSON, crowdedBody(res, retry, m.opts.ProblemJSON))
	default:
		respond(w, r, status, m.opts.ProblemJSON, failureBody(status, retry, m.opts.ProblemJSON))
	}
}

// crowdedBody is the JSON of a 429. Every value is a number or a token.
func crowdedBody(r ratelimit.Result, retry int64, problem bool) []byte {
	buf := make([]byte, 0, 384)
	if problem {
		buf = append(buf, `{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Request cannot be satisfied as assigned quota has been exceeded","status":429,"violated-policies":["`...)
		buf = append(buf, r.Policy...)
		buf = append(buf, `"],"detail":"`...)
	} else {
		buf = append(buf, `{"error":"concurrency_limited","message":"`...)
	}
	buf = append(buf, `Too many requests at once. Try again when one of them has been answered.","policy":"`...)
	buf = append(buf, r.Policy...)
	buf = append(buf, `","limit":`...)
	buf = strconv.AppendInt(buf, int64(r.Limit), 10)
	buf = append(buf, `,"remaining":`...)
	buf = strconv.AppendInt(buf, int64(r.Remaining), 10)
	if retry > 0 {
		buf = append(buf, `,"retry_after":`...)
		buf = strconv.AppendInt(buf, retry, 10)
	}
	return append(buf, '}', '\n')
}

// appendField adds a list member behind those of an outer limiter, in one field line.
func appendField(h http.Header, name, value string) {
	if outer := h[name]; len(outer) > 0 {
		value = strings.Join(outer, ", ") + ", " + value
	}
	h[name] = []string{value}
}

// retrySeconds is the value of Retry-After; 0 leaves the field out.
func retrySeconds(r ratelimit.Result) int64 {
	if r.RetryAfter == ratelimit.Never {
		return 0
	}
	return max(1, int64(math.Ceil(float64(r.RetryAfter)/float64(time.Second))))
}

// respond writes a whole answer.
func respond(w http.ResponseWriter, r *http.Request, status int, problem bool, body []byte) {
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	if problem {
		h["Content-Type"] = []string{"application/problem+json"}
	}
	h["Cache-Control"] = []string{"no-store"} // RFC 6585: a cache must not store a 429
	delete(h, "Content-Length")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// failureBody is the JSON of a 503 or 500. It hides the cause.
func failureBody(status int, retry int64, problem bool) []byte {
	kind, message := "unavailable", "The service cannot answer right now."
	if status != http.StatusServiceUnavailable {
		kind, message = "internal", "The service could not answer."
	}
	buf := []byte(`{"error":"` + kind + `","message":"` + message + `"`)
	if problem {
		buf = []byte(`{"type":"about:blank","title":"` + http.StatusText(status) + `","status":` + strconv.Itoa(status))
	}
	if retry > 0 {
		buf = append(buf, `,"retry_after":`...)
		buf = strconv.AppendInt(buf, retry, 10)
	}
	return append(buf, '}', '\n')
}
