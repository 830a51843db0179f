package ratelimit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Canonical forms, so that assigning to the map is what Set would do.
const (
	hLimit      = "X-Ratelimit-Limit"
	hRemaining  = "X-Ratelimit-Remaining"
	hReset      = "X-Ratelimit-Reset"
	hRateLimit  = "Ratelimit"
	hPolicy     = "Ratelimit-Policy"
	hRetryAfter = "Retry-After"
)

// headerWriter writes results as response fields.
type headerWriter struct {
	deltaReset bool
	pkSecret   []byte
	policies   atomic.Pointer[policyField]
}

// policyField is the RateLimit-Policy value of one combination of limits. It changes
// only when a limit does.
type policyField struct {
	results []Result
	value   []string
}

// ceilSeconds rounds up: a client that waits that long must find it enough.
func ceilSeconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d-1)/time.Second) + 1
}

// retrySeconds is the value of Retry-After and retry_after; 0 leaves them out.
func retrySeconds(r Result) int64 {
	if r.RetryAfter == Never {
		return 0
	}
	return max(1, ceilSeconds(r.RetryAfter))
}

// resetUnix is the first whole second at which the limit is free again. now is in Unix
// nanoseconds.
func resetUnix(now int64, r *Result) int64 { return ceilSeconds(time.Duration(now) + r.ResetAfter) }

// WriteHeaders sets the response fields of the decision: X-RateLimit-Limit, -Remaining and
// -Reset of the policy that binds, RateLimit and RateLimit-Policy of all, and Retry-After
// after a denial. RateLimit leaves out results that are Unknown. It is for answers that no
// middleware of this package writes. Policies
// that only watch appear in no field, and those that count failures only after a denial.
func (d *Decision) WriteHeaders(h http.Header) {
	plainFields.write(h, d, !d.Allowed, time.Now().UnixNano())
}

var plainFields headerWriter

// shown returns the results that a client may see, and their keys.
func (d *Decision) shown(denied bool) ([]Result, []Check) {
	hidden := func(i int) bool {
		c := &d.checks[i]
		return c.Limiter.Policy().Shadow || c.FailuresOnly && !denied
	}
	for i := range d.checks {
		if !hidden(i) {
			continue
		}
		var results []Result
		var checks []Check
		for j := range d.checks {
			if !hidden(j) {
				results, checks = append(results, d.Results[j]), append(checks, d.checks[j])
			}
		}
		return results, checks
	}
	return d.Results, d.checks
}

// write sets the fields of a decision. All values share one string and one array of
// slices, the whole cost of a response. now is in Unix nanoseconds.
func (w *headerWriter) write(h http.Header, d *Decision, denied bool, now int64) {
	results, checks := d.shown(denied)
	if len(results) == 0 {
		return
	}
	b := &results[binding(results)]
	outermost := len(h) == 0 // there are no fields of an outer limiter
	var space [192]byte
	buf := space[:0]
	vals := new([5]string)
	var ends [5]int
	if b.Limit != Unlimited {
		buf = strconv.AppendInt(buf, int64(b.Limit), 10)
		ends[0] = len(buf)
		buf = strconv.AppendInt(buf, int64(b.Remaining), 10)
		ends[1] = len(buf)
		if w.deltaReset {
			buf = strconv.AppendInt(buf, ceilSeconds(b.ResetAfter), 10)
		} else {
			buf = strconv.AppendInt(buf, resetUnix(now, b), 10)
		}
		ends[2] = len(buf)
		buf = w.appendRateLimit(buf, results, checks)
	}
	ends[3] = len(buf)
	if denied {
		if s := retrySeconds(*b); s > 0 {
			buf = strconv.AppendInt(buf, s, 10)
		}
	}
	ends[4] = len(buf)
	all, from := string(buf), 0
	for i, to := range ends {
		if to > from {
			vals[i], from = all[from:to], to
		}
	}
	if b.Limit != Unlimited {
		if outermost || !outerIsStricter(h, b) {
			h[hLimit], h[hRemaining], h[hReset] = vals[0:1:1], vals[1:2:2], vals[2:3:3]
		}
		if outermost {
			h[hRateLimit], h[hPolicy] = vals[3:4:4], w.policyValue(results)
		} else {
			appendField(h, hRateLimit, vals[3:4:4])
			appendField(h, hPolicy, w.policyValue(results))
		}
	}
	if vals[4] != "" {
		h[hRetryAfter] = vals[4:5:5]
	}
}

// appendField adds a list member behind those of an outer limiter, in one field line.
func appendField(h http.Header, name string, value []string) {
	if outer := h[name]; len(outer) > 0 {
		value = []string{strings.Join(append(slices.Clip(outer), value...), ", ")}
	}
	h[name] = value
}

func outerIsStricter(h http.Header, b *Result) bool {
	outer := h[hRemaining]
	if len(outer) == 0 {
		return false
	}
	n, err := strconv.Atoi(outer[0])
	return err == nil && n < b.Remaining
}

// appendRateLimit appends a structured-field list (RFC 9651) as in
// draft-ietf-httpapi-ratelimit-headers-10: one member a policy. Names are tokens by
// construction and need no escaping.
func (w *headerWriter) appendRateLimit(buf []byte, results []Result, checks []Check) []byte {
	first := true
	for i := range results {
		r := &results[i]
		if r.Limit == Unlimited || r.Unknown {
			continue
		}
		if !first {
			buf = append(buf, ", "...)
		}
		first = false
		buf = append(buf, '"')
		buf = append(buf, r.Policy...)
		buf = append(buf, `";r=`...)
		buf = strconv.AppendInt(buf, int64(r.Remaining), 10)
		buf = append(buf, ";t="...)
		buf = strconv.AppendInt(buf, ceilSeconds(r.NextAfter), 10)
		if w.pkSecret != nil {
			mac := hmac.New(sha256.New, w.pkSecret)
			mac.Write([]byte(checks[i].Key))
			buf = append(buf, ";pk=:"...)
			buf = base64.StdEncoding.AppendEncode(buf, mac.Sum(nil)[:16])
			buf = append(buf, ':')
		}
	}
	return buf
}

func samePolicies(a, b []Result) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a, b := &a[i], &b[i]; a.Limit != b.Limit || a.Window != b.Window || a.Policy != b.Policy {
			return false
		}
	}
	return true
}

func (w *headerWriter) policyValue(results []Result) []string {
	if p := w.policies.Load(); p != nil && samePolicies(p.results, results) {
		return p.value
	}
	var buf []byte
	for _, r := range results {
		if r.Limit == Unlimited {
			continue
		}
		if len(buf) > 0 {
			buf = append(buf, ", "...)
		}
		buf = append(buf, '"')
		buf = append(buf, r.Policy...)
		buf = append(buf, `";q=`...)
		buf = strconv.AppendInt(buf, int64(r.Limit), 10)
		if s := ceilSeconds(r.Window); r.Window >= time.Second && s <= math.MaxInt32 { // rounded up: less than the policy gives
			buf = append(buf, ";w="...)
			buf = strconv.AppendInt(buf, s, 10)
		}
	}
	p := &policyField{results: slices.Clone(results), value: []string{string(buf)}}
	w.policies.Store(p)
	return p.value[:1:1]
}
