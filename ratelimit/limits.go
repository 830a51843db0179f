package ratelimit

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// limitStatus is one policy in the answer of LimitsHandler.
type limitStatus struct {
	Policy     string `json:"policy"`
	Limit      int    `json:"limit"` // -1 is Unlimited
	Used       int    `json:"used"`
	Remaining  int    `json:"remaining"`
	Window     int64  `json:"window"`                // seconds
	Reset      int64  `json:"reset"`                 // Unix seconds at which the whole limit is free
	RetryAfter int64  `json:"retry_after,omitempty"` // seconds until one more is allowed
	Degraded   bool   `json:"degraded,omitempty"`
}

// limitsRate bounds the questions of one caller.
var limitsRate = Policy{Name: "limits", Limit: 120, Window: time.Minute}

// LimitsHandler serves GET with the caller's own limits and remaining units,
// {"limits":[{"policy":"api","limit":100, …}]}. It uses no units, sends one command to
// each back-end, and omits policies that only watch. A caller may send 120 requests a minute.
func LimitsHandler(rules ...Rule) http.Handler {
	rules = append([]Rule(nil), rules...)
	own, err := NewMemory(limitsRate, &Options{MaxKeys: 100_000})
	if err != nil {
		panic(err) // a valid constant
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			respond(w, r, http.StatusMethodNotAllowed, jsonType, []byte(`{"error":"method_not_allowed","message":"Use GET."}`+"\n"))
			return
		}
		var checks []Check
		for _, rule := range rules {
			if rule.Skip != nil && rule.Skip(r) || rule.Limiter.Policy().Shadow {
				continue
			}
			checks = append(checks, Check{Limiter: rule.Limiter, Key: rule.Key(r)})
		}
		if len(checks) > 0 {
			if res, err := own.Allow(r.Context(), checks[0].Key); err == nil && !res.Allowed {
				w.Header()[hRetryAfter] = []string{strconv.FormatInt(retrySeconds(res), 10)}
				respond(w, r, http.StatusTooManyRequests, jsonType, appendDenied(nil, []Result{res}, time.Now().UnixNano(), false))
				return
			}
		}
		d, err := Decide(r.Context(), checks...)
		if err != nil {
			noteMistake(r.Context(), slog.Default(), d, err)
			respond(w, r, http.StatusServiceUnavailable, jsonType, failureBody(http.StatusServiceUnavailable, 1, false))
			return
		}
		now := time.Now().UnixNano() // not before the decision, or Reset may come early
		list := make([]limitStatus, len(d.Results))
		for i := range d.Results {
			res := &d.Results[i]
			s := &list[i]
			*s = limitStatus{
				Policy: res.Policy, Limit: res.Limit, Remaining: res.Remaining,
				Window: ceilSeconds(res.Window), Reset: resetUnix(now, res), Degraded: res.Degraded,
			}
			if res.Limit != Unlimited {
				s.Used = res.Limit - res.Remaining
			}
			if !res.Allowed {
				s.RetryAfter = max(1, ceilSeconds(max(res.RetryAfter, res.NextAfter)))
			}
		}
		body, err := json.Marshal(struct {
			Limits []limitStatus `json:"limits"`
		}{list})
		if err != nil { // numbers and tokens: cannot happen
			respond(w, r, http.StatusInternalServerError, jsonType, failureBody(http.StatusInternalServerError, 0, false))
			return
		}
		respond(w, r, http.StatusOK, jsonType, append(body, '\n'))
	})
}
