package querycount

import (
	"bufio"
	"cmp"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
)

// Header is the response header that [Middleware] writes.
const Header = "X-Query-Count"

// MiddlewareOptions are the options of [Middleware].
type MiddlewareOptions struct {
	// Repeats is the number of times that a request may run one shape of statement before
	// it is logged as a suspected N+1. Default: 5.
	Repeats int
	// Allowed are parts of the shapes that may repeat. Default: none.
	Allowed []string
	// Quiet omits the header, for servers whose clients must not see it. Default: false.
	Quiet bool
	// Logger receives suspected N+1 as warnings, with the statement's shape and without its
	// values. Default: slog.Default().
	Logger *slog.Logger
}

// Middleware counts the statements of each request. The header is the number of statements
// before the response began. Statements that run later, while a list is streamed, are only
// in the count of the log. opts may be nil.
func Middleware(opts *MiddlewareOptions) func(http.Handler) http.Handler {
	var o MiddlewareOptions
	if opts != nil {
		o = *opts
	}
	if o.Repeats < 1 {
		o.Repeats = 5
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, c := With(r.Context())
			r = r.WithContext(ctx)
			defer o.suspect(r, c)
			if o.Quiet {
				next.ServeHTTP(w, r)
				return
			}
			rw := &responseWriter{ResponseWriter: w, counter: c}
			next.ServeHTTP(rw, r)
			rw.begin() // a response without a body
		})
	}
}

func (o *MiddlewareOptions) suspect(r *http.Request, c *Counter) {
	if c.Total() <= o.Repeats {
		return
	}
	log := cmp.Or(o.Logger, slog.Default())
	for _, s := range c.Repeated(o.Repeats, o.Allowed...) {
		log.WarnContext(
			r.Context(), "querycount: one statement ran many times in a request; load its rows with one (N+1)",
			"method", r.Method, "path", r.URL.Path, "count", s.Count, "total", c.Total(), "took", s.Took, "caller", s.Caller, "statement", s.SQL,
		)
	}
}

// responseWriter sets the header when the response begins.
type responseWriter struct {
	http.ResponseWriter
	counter *Counter
	begun   bool
}

func (w *responseWriter) begin() {
	if !w.begun {
		w.begun = true
		w.Header().Set(Header, strconv.Itoa(w.counter.Total()))
	}
}

// WriteHeader sends the headers.
func (w *responseWriter) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.begin()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write writes a part of the body.
func (w *responseWriter) Write(b []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(b)
}

// Flush sends the data written so far, if the writer below can.
func (w *responseWriter) Flush() {
	w.begin()
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap returns the writer below, for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack takes over the connection, if the writer below allows it.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// ReadFrom copies a body, with the fast path of the writer below.
func (w *responseWriter) ReadFrom(r io.Reader) (int64, error) {
	w.begin()
	return io.Copy(w.ResponseWriter, r)
}
