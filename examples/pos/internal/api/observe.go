package api

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// secure sets the security headers of each response. Handlers of pages replace the policy with
// their own.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), safeHeaders)
		next.ServeHTTP(w, r)
	})
}

// safeHeaders are shared by all responses. Handlers replace a value and never append to it.
var safeHeaders = http.Header{
	"X-Content-Type-Options":       {"nosniff"},
	"X-Frame-Options":              {"DENY"},
	"Referrer-Policy":              {"no-referrer"},
	"Content-Security-Policy":      {"default-src 'none'; frame-ancestors 'none'"},
	"Cross-Origin-Opener-Policy":   {"same-origin"},
	"Cross-Origin-Resource-Policy": {"same-origin"},
	"Cache-Control":                {"no-store"},
}

const (
	// answerPatience is the time limit of a response. It is shorter than the server's write
	// timeout, so that the client receives an error text.
	answerPatience = 10 * time.Second
	// streamPatience is the time limit of a download.
	streamPatience = 30 * time.Minute
)

// observe sets the time limit of each request, logs it, and responds when a handler panics.
// Without the limit, a database that hangs would block the tills and use all connections.
func (a *API) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w, route: "none", id: strconv.FormatUint(rand.Uint64(), 36)}
		w.Header().Set("X-Request-Id", rec.id)
		patience := answerPatience
		if isDownload(r) {
			patience = streamPatience
		}
		ctx := &deadline{Context: context.WithValue(r.Context(), recorderKey{}, rec), at: start.Add(patience)}
		defer ctx.stop()
		r = r.WithContext(ctx)
		defer func() {
			v := recover()
			if err, _ := v.(error); v != nil && !errors.Is(err, http.ErrAbortHandler) {
				a.Logger.Error("panic", "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
				if rec.status == 0 {
					fail(rec, http.StatusInternalServerError, "internal error")
					v = nil
				}
			}
			if rec.status == 0 {
				rec.status = http.StatusOK // the handler wrote no response, so net/http sends 200
			}
			took, user := time.Since(start), ""
			if rec.caller != nil {
				user = rec.caller.user.Name
			}
			a.Metrics.Request(rec.route, r.Method, rec.status, took)
			if nearLimit(w.Header()) {
				a.Metrics.NearLimit(rec.route)
				a.Logger.Warn("a limit is nearly used up", "route", rec.route, "user", user, "peer", a.address(r),
					"left", w.Header().Get("X-RateLimit-Remaining"), "of", w.Header().Get("X-RateLimit-Limit"))
			}
			a.Logger.LogAttrs(r.Context(), slog.LevelInfo, "request",
				slog.String("method", r.Method), slog.String("path", r.URL.Path),
				slog.Int("status", rec.status), slog.Duration("took", took), slog.String("peer", a.address(r)),
				slog.String("user", user), slog.String("request", rec.id))
			if v != nil {
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

// recorder stores the status of a response, the pattern of its route, and the caller.
type recorder struct {
	http.ResponseWriter
	status int
	route  string
	id     string
	caller *caller // nil without a session
}

// recorderOf returns the recorder of a request, or nil outside of observe.
func recorderOf(r *http.Request) *recorder {
	rec, _ := r.Context().Value(recorderKey{}).(*recorder)
	return rec
}

// address returns the client's address of a request, read behind the trusted proxies.
func (a *API) address(r *http.Request) string {
	return strings.TrimPrefix(a.limits.address(r), "ip:")
}

// nearLimit reports whether a response reached the last tenth of a limit, or used it up. Names in
// net/http's own spelling take no time to convert.
func nearLimit(h http.Header) bool {
	limit, err := strconv.Atoi(h.Get("X-Ratelimit-Limit"))
	left, leftErr := strconv.Atoi(h.Get("X-Ratelimit-Remaining"))
	return err == nil && leftErr == nil && limit >= 10 && (left == limit/10 || left == 0)
}

type recorderKey struct{}

// named gives the recorder the pattern of a request's route. ServeMux sets the pattern in its
// own copy of the request, which observe does not have.
func named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if rec := recorderOf(r); rec != nil && r.Pattern != "" {
				rec.route = strings.TrimSuffix(r.Pattern, "{$}")
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap gives http.ResponseController access to flushing and deadlines.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
