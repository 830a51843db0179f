package ratelimit

import (
	"encoding/json"
	"net/http"
	"time"
)

// LimitStatus is one policy in the answer of [LimitsHandler].
type LimitStatus struct {
	Policy     string `json:"policy"`
	Limit      int    `json:"limit"` // -1 is Unlimited
	Used       int    `json:"used"`
	Remaining  int    `json:"remaining"`
	Window     int64  `json:"window"`                // seconds
	Reset      int64  `json:"reset"`                 // Unix seconds at which nothing is used any more
	RetryAfter int64  `json:"retry_after,omitempty"` // seconds until one more is allowed
	Degraded   bool   `json:"degraded,omitempty"`
}

// LimitsHandler answers GET with the caller's own limits and what is left of them,
// {"limits":[{"policy":"api","limit":100, …}]}. It uses none of them.
func LimitsHandler(rules ...Rule) http.Handler {
	rules = append([]Rule(nil), rules...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			respond(w, r, http.StatusMethodNotAllowed, jsonType, []byte(`{"error":"method_not_allowed","message":"Use GET."}`+"\n"))
			return
		}
		list := make([]LimitStatus, 0, len(rules))
		for _, rule := range rules {
			if rule.Skip != nil && rule.Skip(r) {
				continue
			}
			res, err := rule.Limiter.Peek(r.Context(), rule.Key(r))
			if err != nil {
				respond(w, r, http.StatusServiceUnavailable, jsonType, failureBody(http.StatusServiceUnavailable, 1, false))
				return
			}
			now := time.Now().UnixNano() // not before the look, or Reset may come early
			s := LimitStatus{
				Policy: res.Policy, Limit: res.Limit, Remaining: res.Remaining,
				Window: ceilSeconds(res.Window), Reset: resetUnix(now, &res), Degraded: res.Degraded,
			}
			if res.Limit != Unlimited {
				s.Used = res.Limit - res.Remaining
			}
			if !res.Allowed || res.Shadowed {
				s.RetryAfter = max(1, ceilSeconds(max(res.RetryAfter, res.NextAfter)))
			}
			list = append(list, s)
		}
		body, err := json.Marshal(struct {
			Limits []LimitStatus `json:"limits"`
		}{list})
		if err != nil { // numbers and tokens: cannot happen
			respond(w, r, http.StatusInternalServerError, jsonType, failureBody(http.StatusInternalServerError, 0, false))
			return
		}
		respond(w, r, http.StatusOK, jsonType, append(body, '\n'))
	})
}
