// Package outbound keeps a client within the limits of the service that it calls.
//
//	client := &http.Client{Transport: outbound.New(nil, nil)}
//
// The transport obeys the Retry-After of a response that refuses a request (status 400 and
// above), and the fields RateLimit and X-RateLimit of an exhausted limit. Requests to that host
// then wait in this process, in the order of their calls, instead of being refused by the host.
// The Retry-After of a redirect delays the request that follows it. With any other status,
// such as 202, the caller decides what Retry-After means. A limit of the client's own can be
// added.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// ErrWait means that a request would have to wait for longer than MaxWait or its deadline. It
// was not sent.
var ErrWait = errors.New("outbound: the service asks its clients to wait for longer than this request can")

// Options configure New.
type Options struct {
	// Limiter delays requests to the known rate of the service. Default: nil; only the
	// service's own answers do.
	Limiter ratelimit.Limiter
	// Key returns what requests share a limit. Default: the host of the URL.
	Key func(*http.Request) string
	// MaxWait is the longest that a request waits before it is sent. Default: 1 min.
	MaxWait time.Duration
	// Retries is how many times a request is sent again after 429 or 503 with a Retry-After,
	// if its body can be read again. Negative: never. Default: 1.
	Retries int
}

// Transport is an http.RoundTripper. [New] makes it. It is safe for concurrent use.
type Transport struct {
	base http.RoundTripper
	opts Options

	mu    sync.Mutex
	hosts map[string]*host
}

// host is the pause that a service has asked for.
type host struct {
	until time.Time // no request before
	gap   time.Duration
}

// maxHosts bounds the remembered hosts.
const maxHosts = 10_000

// New returns a transport over base, http.DefaultTransport if it is nil. opts may be nil.
func New(base http.RoundTripper, opts *Options) *Transport {
	t := &Transport{base: base, hosts: make(map[string]*host)}
	if opts != nil {
		t.opts = *opts
	}
	if t.base == nil {
		t.base = http.DefaultTransport
	}
	if t.opts.Key == nil {
		t.opts.Key = func(r *http.Request) string { return "host:" + r.URL.Host }
	}
	if t.opts.MaxWait == 0 {
		t.opts.MaxWait = time.Minute
	}
	switch {
	case t.opts.Retries == 0:
		t.opts.Retries = 1
	case t.opts.Retries < 0:
		t.opts.Retries = 0
	}
	return t
}

// RoundTrip implements http.RoundTripper. It fails with ErrWait instead of sending a request
// that would be too late.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	key := t.opts.Key(r)
	for try := 0; ; try++ {
		err := t.wait(r.Context(), key)
		if err == nil && try == 0 && r.Response != nil {
			err = t.redirected(r)
		}
		if err != nil {
			if r.Body != nil {
				r.Body.Close()
			}
			return nil, err
		}
		resp, err := t.base.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		wait := t.learn(key, resp)
		refused := resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable
		if !refused || wait <= 0 || try >= t.opts.Retries || !t.patient(r.Context(), wait) {
			return resp, nil
		}
		next := r
		if r.Body != nil && r.Body != http.NoBody {
			if r.GetBody == nil {
				return resp, nil // it cannot be read again
			}
			body, err := r.GetBody()
			if err != nil {
				return resp, nil //nolint:nilerr // the answer is the better news
			}
			next = r.Clone(r.Context())
			next.Body = body
		}
		resp.Body.Close()
		r = next
	}
}

// patient reports whether a request can wait so long.
func (t *Transport) patient(ctx context.Context, wait time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return wait <= t.opts.MaxWait && (!ok || time.Until(deadline) > wait)
}

// wait blocks until a request may be sent. Requests that wait for one instant follow each
// other at the pace that the service has asked for.
func (t *Transport) wait(ctx context.Context, key string) error {
	t.mu.Lock()
	var pause time.Duration
	if h := t.hosts[key]; h != nil {
		if pause = time.Until(h.until); pause <= 0 {
			delete(t.hosts, key)
		} else if t.patient(ctx, pause) {
			h.until = h.until.Add(h.gap)
		}
	}
	t.mu.Unlock()
	if pause > 0 && !t.patient(ctx, pause) {
		return fmt.Errorf("%w: %v", ErrWait, pause.Round(time.Millisecond))
	}
	if err := sleep(ctx, pause); err != nil || t.opts.Limiter == nil {
		return err
	}
	within := t.opts.MaxWait
	if deadline, ok := ctx.Deadline(); ok {
		within = min(within, max(time.Until(deadline), 1))
	}
	d, err := ratelimit.Decide(ctx, ratelimit.Check{Limiter: t.opts.Limiter, Key: key, Cost: 1, Within: within})
	switch {
	case err != nil && !errors.Is(err, ratelimit.ErrQueueFull):
		return err
	case err != nil || !d.Allowed:
		return fmt.Errorf("%w: %v", ErrWait, d.Binding().RetryAfter.Round(time.Millisecond))
	}
	return d.Wait(ctx)
}

// redirected waits for as long as the redirect that led to r asks for: RFC 9110, 10.2.3.
func (t *Transport) redirected(r *http.Request) error {
	pause := retryAfter(r.Response.Header, time.Now())
	if pause > 0 && !t.patient(r.Context(), pause) {
		return fmt.Errorf("%w: %v", ErrWait, pause.Round(time.Millisecond))
	}
	return sleep(r.Context(), pause)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// learn stores the wait of a response, and returns it.
func (t *Transport) learn(key string, resp *http.Response) time.Duration {
	wait, gap := asked(resp.StatusCode, resp.Header, time.Now())
	if wait <= 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.hosts) >= maxHosts && t.hosts[key] == nil {
		for k, h := range t.hosts {
			if time.Now().After(h.until) {
				delete(t.hosts, k)
			}
		}
		if len(t.hosts) >= maxHosts {
			return wait
		}
	}
	until := time.Now().Add(wait)
	if h := t.hosts[key]; h == nil {
		t.hosts[key] = &host{until: until, gap: gap}
	} else if until.After(h.until) {
		h.until, h.gap = until, gap
	}
	return wait
}

// maxAsked bounds the wait of a response.
const maxAsked = 24 * time.Hour

// clamped returns n units as a duration of at most maxAsked.
func clamped(n int64, unit time.Duration) time.Duration {
	return time.Duration(min(n, int64(maxAsked/unit))) * unit
}

// number reads a number that is not negative. One too large for an int64 is the largest one.
func number(s string) (n int64, ok bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, n >= 0 && (err == nil || errors.Is(err, strconv.ErrRange))
}

func retryAfter(h http.Header, now time.Time) (wait time.Duration) {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, ok := number(v); ok {
		return clamped(n, time.Second)
	}
	if at, err := http.ParseTime(v); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxAsked)
}

// asked reads Retry-After, RateLimit with RateLimit-Policy, and their forerunners. gap is
// how far requests must lie apart then, 0 if the service does not say.
func asked(status int, h http.Header, now time.Time) (wait, gap time.Duration) {
	if status >= http.StatusBadRequest { // otherwise it concerns one job or redirect
		wait = retryAfter(h, now)
	}
	policies := map[string]map[string]int64{}
	for _, member := range members(h.Values("RateLimit-Policy")) {
		policies[member.name] = member.params
	}
	for _, member := range members(h.Values("RateLimit")) {
		r, ok := member.params["r"]
		seconds, timed := member.params["t"]
		if !ok || r > 0 || !timed {
			continue
		}
		wait = max(wait, clamped(seconds, time.Second))
		if p := policies[member.name]; p["q"] > 0 && p["w"] > 0 {
			gap = max(gap, clamped(p["w"], time.Second)/time.Duration(p["q"]))
		}
	}
	for _, left := range leftovers(h) {
		if wait > 0 || left.remaining != "0" {
			continue
		}
		if n, ok := number(left.reset); ok {
			wait = untilReset(n, now)
		}
	}
	return min(max(wait, 0), maxAsked), gap
}

// untilReset reads a reset in seconds from now, or in Unix time: the fields do not say which
// unit they have, but the size of today's number does.
func untilReset(n int64, now time.Time) time.Duration {
	switch {
	case n > 1e17:
		return time.Unix(0, n).Sub(now)
	case n > 1e14:
		return time.UnixMicro(n).Sub(now)
	case n > 1e11:
		return time.UnixMilli(n).Sub(now)
	case n > 1e9:
		return time.Unix(n, 0).Sub(now)
	}
	return clamped(n, time.Second)
}

// leftover holds the units until a reset, in the fields that precede RateLimit with r and t.
type leftover struct{ remaining, reset string }

// leftovers reads X-RateLimit-Remaining and -Reset, RateLimit-Remaining and -Reset (early
// drafts), and RateLimit with remaining and reset (draft 7).
func leftovers(h http.Header) []leftover {
	list := []leftover{
		{h.Get("X-RateLimit-Remaining"), h.Get("X-RateLimit-Reset")},
		{h.Get("RateLimit-Remaining"), h.Get("RateLimit-Reset")},
	}
	switch all := h.Get("RateLimit"); {
	case strings.Contains(all, "remaining="):
		var l leftover
		for part := range strings.SplitSeq(all, ",") {
			switch k, v, _ := strings.Cut(strings.TrimSpace(part), "="); k {
			case "remaining":
				l.remaining = v
			case "reset":
				l.reset = v
			}
		}
		list = append(list, l)
	case all != "":
		return nil // it says more than the others
	}
	return list
}

// member is one policy of a structured-field list, such as "login";r=0;t=30.
type member struct {
	name   string
	params map[string]int64
}

func members(fields []string) (list []member) {
	for _, field := range fields {
		for part := range strings.SplitSeq(field, ",") {
			pieces := strings.Split(part, ";")
			m := member{name: strings.Trim(strings.TrimSpace(pieces[0]), `"`), params: map[string]int64{}}
			for _, p := range pieces[1:] {
				k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
				if n, ok := number(v); ok {
					m.params[k] = n
				}
			}
			list = append(list, m)
		}
	}
	return list
}
