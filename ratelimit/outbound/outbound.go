// Package outbound keeps a client within the limits of the service that it calls.
//
//	transport, err := outbound.New(nil, nil)
//	client := &http.Client{Transport: transport}
//
// The transport obeys the Retry-After of a response that refuses a request (status 400 and
// above), and the fields RateLimit and X-RateLimit of an exhausted limit. Requests to that host
// then wait in this process, in the order of their calls, instead of being refused by the host.
// The Retry-After of a redirect delays the request that follows it. With any other status,
// such as 202, the caller decides what Retry-After means. A limit of the client's own can be
// added.
package outbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
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
	// Key returns what requests share a limit. Default: the host of the URL, in one spelling.
	Key func(*http.Request) string
	// MaxWait is the longest that a request waits in all, for the service and for Limiter.
	// Default: 1 min.
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

// host is the pause that a service has asked for. The requests that wait have turns, numbered in the order of their calls.
type host struct {
	until time.Time // no request before
	start time.Time // when turn first comes, not before until
	gap   time.Duration
	first int
	gone  int   // the turn behind those whose requests have been sent
	next  int   // the next turn to give
	free  []int // turns before next that canceled requests have given up, in order
}

// at returns when a turn comes.
func (h *host) at(turn int) time.Time {
	if h.gap == 0 {
		return h.start
	}
	return h.start.Add(clamped(int64(max(turn-h.first, 0)), h.gap))
}

// place is the turn of a request, if it has one.
type place struct {
	host *host
	turn int
}

// maxHosts bounds the remembered hosts. Any one of them is forgotten for a new one.
const maxHosts = 10_000

// New returns a transport over base, http.DefaultTransport if it is nil. opts may be nil.
func New(base http.RoundTripper, opts *Options) (*Transport, error) {
	t := &Transport{base: base, hosts: make(map[string]*host)}
	if opts != nil {
		t.opts = *opts
	}
	if t.opts.MaxWait < 0 {
		return nil, fmt.Errorf("outbound: MaxWait %v is negative", t.opts.MaxWait)
	}
	if t.base == nil {
		t.base = http.DefaultTransport
	}
	if t.opts.Key == nil {
		t.opts.Key = func(r *http.Request) string { return "host:" + canonical(r.URL) }
	}
	t.opts.MaxWait = cmp.Or(t.opts.MaxWait, time.Minute)
	switch {
	case t.opts.Retries == 0:
		t.opts.Retries = 1
	case t.opts.Retries < 0:
		t.opts.Retries = 0
	}
	return t, nil
}

// RoundTrip implements http.RoundTripper. It fails with ErrWait instead of sending a request
// that would be too late.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	key := t.opts.Key(r)
	left := t.opts.MaxWait
	for try := 0; ; try++ {
		start := time.Now()
		deadline := start.Add(left)
		if own, ok := r.Context().Deadline(); ok && own.Before(deadline) {
			deadline = own
		}
		var redirect time.Duration
		if try == 0 && r.Response != nil {
			redirect = retryAfter(r.Response.Header, start)
		}
		err := t.wait(r.Context(), key, deadline, redirect)
		left -= time.Since(start)
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
		if !refused || wait <= 0 || try >= t.opts.Retries || wait > left || !patient(r.Context(), wait) {
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

// patient reports whether the context of a request lasts for longer than a wait.
func patient(ctx context.Context, wait time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > wait
}

// wait blocks until a request may be sent: after the pause of its host, after the redirect that
// led to it (RFC 9110, 10.2.3), and when the limiter allows it. The service may ask for a longer
// pause meanwhile.
func (t *Transport) wait(ctx context.Context, key string, deadline time.Time, redirect time.Duration) error {
	turn, err := t.pause(ctx, key, deadline)
	if err != nil {
		return err
	}
	if err := sleepUntil(ctx, time.Now().Add(redirect), deadline); err != nil {
		return err
	}
	if t.opts.Limiter == nil {
		return t.pauseAgain(ctx, key, deadline, turn)
	}
	within := max(time.Until(deadline), 1)
	d, err := ratelimit.Decide(ctx, ratelimit.Check{Limiter: t.opts.Limiter, Key: key, Cost: 1, Within: within})
	switch {
	case err != nil && !errors.Is(err, ratelimit.ErrQueueFull):
		return err
	case err != nil || !d.Allowed:
		return fmt.Errorf("%w: %v", ErrWait, d.Binding().RetryAfter.Round(time.Millisecond))
	}
	if err := d.Wait(ctx); err != nil {
		return err
	}
	if err := t.pauseAgain(ctx, key, deadline, turn); err != nil {
		return errors.Join(err, d.Cancel(context.WithoutCancel(ctx)))
	}
	return nil
}

// pause blocks for as long as the service asks, and reports whether the request has had a turn. Requests that wait for
// one instant follow each other at the pace that the service has asked for.
func (t *Transport) pause(ctx context.Context, key string, deadline time.Time) (turn bool, err error) {
	var p place
	for {
		at := t.turn(key, &p, deadline)
		if at.IsZero() {
			return p.host != nil, ctx.Err()
		}
		if err := sleepUntil(ctx, at, deadline); err != nil {
			t.giveUp(p)
			return false, err
		}
	}
}

// pauseAgain is pause for a request that has waited. After a turn it only waits if the service asks for it now.
func (t *Transport) pauseAgain(ctx context.Context, key string, deadline time.Time, turn bool) error {
	if turn && !t.paused(key) {
		return ctx.Err()
	}
	_, err := t.pause(ctx, key, deadline)
	return err
}

// giveUp leaves a turn to a later request.
func (t *Transport) giveUp(p place) {
	if p.host == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i, _ := slices.BinarySearch(p.host.free, p.turn)
	p.host.free = slices.Insert(p.host.free, i, p.turn)
}

// turn returns when a request may be sent; zero is now. A request without a turn gets one, unless that comes after the
// deadline. A later pause moves all turns.
func (t *Transport) turn(key string, p *place, deadline time.Time) (at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, now := t.hosts[key], time.Now()
	switch {
	case h == nil:
		return at
	case h == p.host:
		if at = h.at(p.turn); at.After(now) {
			return at
		}
		h.gone = max(h.gone, p.turn+1)
		return time.Time{}
	case !h.at(h.next).After(now):
		delete(t.hosts, key)
		return at
	}
	for len(h.free) > 0 && (h.free[0] < h.first || !h.at(h.free[0]).After(now)) { // too late
		h.free = h.free[1:]
	}
	turn := h.next
	if len(h.free) > 0 {
		turn = h.free[0]
	}
	if at = h.at(turn); at.Before(deadline) {
		if turn == h.next {
			h.next++
		} else {
			h.free = h.free[1:]
		}
		*p = place{h, turn}
	}
	return at
}

// paused reports whether the service has asked for a pause that is not over.
func (t *Transport) paused(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hosts[key]
	return h != nil && h.until.After(time.Now())
}

// sleepUntil returns at an instant. It fails at once if that is not before the deadline.
func sleepUntil(ctx context.Context, until, deadline time.Time) error {
	wait := time.Until(until)
	if wait > 0 && !until.Before(deadline) {
		return fmt.Errorf("%w: %v", ErrWait, wait.Round(time.Millisecond))
	}
	return sleep(ctx, wait)
}

// canonical returns the host of a URL in one spelling: in lower case, without a last dot, and
// without the port that the scheme implies.
func canonical(u *url.URL) string {
	name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	port := u.Port()
	if port == "" || port == "80" && u.Scheme == "http" || port == "443" && u.Scheme == "https" {
		return name
	}
	return net.JoinHostPort(name, port)
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
		var some string
		for k, h := range t.hosts {
			if time.Now().After(h.at(h.next)) {
				delete(t.hosts, k)
			}
			some = k
		}
		if len(t.hosts) >= maxHosts {
			delete(t.hosts, some) // its next response says again how long to wait
		}
	}
	now := time.Now()
	until := now.Add(wait)
	if h := t.hosts[key]; h == nil || !h.at(h.next).After(now) { // the turns of an earlier pause are over
		t.hosts[key] = &host{until: until, start: until, gap: gap}
	} else if until.After(h.until) {
		start := h.at(h.gone)
		if start.Before(until) {
			start = until
		}
		h.until, h.start, h.gap, h.first = until, start, cmp.Or(gap, h.gap), h.gone
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
