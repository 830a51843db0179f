package operate

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Handler serves operators. authorized accepts their requests. If it is nil, the handler
// rejects every request.
//
//	GET    /?policy=login&prefix=ip:&blocked=1   lists keys
//	POST   /block   {"policy":"login","key":"ip:203.0.113.7","for":"1h"}
//	POST   /unlock  {"policy":"login","key":"ip:203.0.113.7"}
//
// The responses to POST contain the status of the key before and after the change.
//
// Browsers send cookies with requests from other sites: put http.CrossOriginProtection in front
// if authorized accepts a cookie.
func Handler(authorized func(*http.Request) bool, limiters ...Limiter) http.Handler {
	h := handler{limiters}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.list)
	mux.HandleFunc("POST /block", h.block)
	mux.HandleFunc("POST /unlock", h.unlock)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if authorized == nil || !authorized(r) {
			reply(w, http.StatusForbidden, map[string]string{"error": "operators only"})
			return
		}
		r = r.Clone(r.Context())
		r.URL.Path = "/" + strings.Trim(r.URL.Path, "/")
		r.URL.RawPath = ""
		mux.ServeHTTP(w, r)
	})
}

type handler struct{ limiters []Limiter }

func (h handler) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	blocked := q.Has("blocked") && q.Get("blocked") != "0" && q.Get("blocked") != "false"
	list, err := List(r.Context(), h.limiters, q.Get("policy"), q.Get("prefix"), blocked)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]any{"keys": append([]Status{}, list...), "truncated": len(list) == maxListed})
}

// change is the body of a request.
type change struct{ Policy, Key, For string }

func (h handler) block(w http.ResponseWriter, r *http.Request) {
	in, ok := read(w, r)
	if !ok {
		return
	}
	wait, err := time.ParseDuration(in.For)
	if err != nil || wait <= 0 {
		reply(w, http.StatusBadRequest, map[string]string{"error": `"for" must be a duration such as "1h"`})
		return
	}
	h.set(w, r, in, wait)
}

func (h handler) unlock(w http.ResponseWriter, r *http.Request) {
	if in, ok := read(w, r); ok {
		h.set(w, r, in, 0)
	}
}

func (h handler) set(w http.ResponseWriter, r *http.Request, in change, wait time.Duration) {
	before, after, err := Set(r.Context(), h.limiters, in.Policy, in.Key, wait)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]Status{"before": before, "after": after})
}

func read(w http.ResponseWriter, r *http.Request) (in change, ok bool) {
	d := json.NewDecoder(io.LimitReader(r.Body, 4096))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil || in.Policy == "" || in.Key == "" {
		reply(w, http.StatusBadRequest, map[string]string{"error": `the body must be a JSON object with "policy" and "key", and with "for" to block`})
		return in, false
	}
	return in, true
}

// fail hides the cause of a failure of the back-end.
func fail(w http.ResponseWriter, err error) {
	if errors.Is(err, ratelimit.ErrUnavailable) {
		reply(w, http.StatusServiceUnavailable, map[string]string{"error": "operate: the limits cannot be reached at the moment"})
		return
	}
	reply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client is gone
}
